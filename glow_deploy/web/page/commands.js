// The command line that does what the page shows, as glow_deploy.explore.commands writes it.

const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`);
const join = (words) => ["glow-deploy", ...words].map(String).map(quoted).join(" ");
const fileOf = (source) => (source.file.startsWith("-") ? `./${source.file}` : source.file);

// image, other: {file, fitted, label}; directions: {file, attributes}, or null.
export function equivalentCommand(bundle, change, { image, other, directions }) {
  const resize = image.fitted ? ["--resize"] : [];
  const classes = image.label === null ? [] : ["--class", image.label];
  const amounts = Object.entries(change.attributes).filter(([, amount]) => amount);
  const scaled = [...change.temperatures, change.temperature].some((value) => value !== 1);
  if (scaled || ![null, image.label].includes(change.label) || (amounts.length && change.share)) {
    return join(["decode", "--engine", `${bundle}/decoder.onnx`, "latents.npz"]);
  }
  if (amounts.length && directions) {
    const beyond = amounts.some(([name, amount]) => {
      const { low, high } = directions.attributes.find((one) => one.name === name);
      return !(low <= amount && amount <= high);
    });
    const given = amounts.flatMap(([name, amount]) => ["--attribute", `${name}=${amount}`]);
    return join(["edit", bundle, fileOf(image), "--directions", directions.file, ...given,
      ...(beyond ? ["--beyond"] : []), ...classes, ...resize]);
  }
  if (change.share && other) {
    const mode = change.mode === "linear" ? [] : ["--mode", change.mode];
    const both = image.label === null ? [] : ["--class", `${image.label},${other.label}`];
    const either = image.fitted || other.fitted ? ["--resize"] : [];
    return join(["interpolate", bundle, fileOf(image), fileOf(other), ...mode, ...both, ...either]);
  }
  return join(["encode", "--engine", `${bundle}/encoder.onnx`, fileOf(image), "--out", "latents.npz", ...classes, ...resize]);
}
