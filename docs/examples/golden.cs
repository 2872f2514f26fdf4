// Runs a bundle on its golden images, and saves what `glow-deploy verify --outputs` judges.
//
//   dotnet new console && dotnet add package Microsoft.ML.OnnxRuntime    (with this file as Program.cs)
//   glow-deploy golden BUNDLE --inputs golden-in
//   dotnet run -- BUNDLE golden-in golden-out
//   glow-deploy verify BUNDLE --outputs golden-out

using System.Runtime.InteropServices;
using System.Text.Json;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;

if (args.Length != 3) throw new ArgumentException("usage: dotnet run -- BUNDLE INPUTS OUTPUTS");
var (bundle, source, target) = (args[0], args[1], args[2]);
Directory.CreateDirectory(target);
using var index = JsonDocument.Parse(File.ReadAllText(Path.Combine(source, "index.json")));
var inputs = index.RootElement.GetProperty("inputs");

// One tensor that `glow-deploy golden` wrote: bare values, little-endian, in the shape that the index gives.
NamedOnnxValue Fed(string name)
{
    var entry = inputs.GetProperty(name);
    var shape = entry.GetProperty("shape").EnumerateArray().Select(size => size.GetInt32()).ToArray();
    var bytes = File.ReadAllBytes(Path.Combine(source, entry.GetProperty("file").GetString()!));
    var tensor = name[(name.IndexOf('.') + 1)..];
    return entry.GetProperty("dtype").GetString() == "int64"
        ? NamedOnnxValue.CreateFromTensor(tensor, new DenseTensor<long>(MemoryMarshal.Cast<byte, long>(bytes).ToArray(), shape))
        : NamedOnnxValue.CreateFromTensor(tensor, new DenseTensor<float>(MemoryMarshal.Cast<byte, float>(bytes).ToArray(), shape));
}

// The inputs of one set by the names that the graph has for them: encoder.x is x.
List<NamedOnnxValue> Feeds(string set) =>
    inputs.EnumerateObject().Where(entry => entry.Name.StartsWith(set + ".")).Select(entry => Fed(entry.Name)).ToList();

void Save(string set, IEnumerable<NamedOnnxValue> outputs)
{
    foreach (var output in outputs)
    {
        var values = output.AsTensor<float>().ToArray();
        File.WriteAllBytes(Path.Combine(target, $"{set}.{output.Name}.bin"), MemoryMarshal.AsBytes<float>(values).ToArray());
    }
}

using var encoder = new InferenceSession(Path.Combine(bundle, "encoder.onnx"));
using var decoder = new InferenceSession(Path.Combine(bundle, "decoder.onnx"));
using var canary = new InferenceSession(Path.Combine(source, "canary.onnx"));

using var encoded = encoder.Run(Feeds("encoder"));
Save("encoder", encoded);
using (var decoded = decoder.Run(Feeds("decoder"))) Save("decoder", decoded);

// The round trip: its own latents decoded, and what came back encoded once more.
var labels = inputs.TryGetProperty("encoder.y", out _) ? new[] { Fed("encoder.y") } : Array.Empty<NamedOnnxValue>();
using var returned = decoder.Run(encoded.Where(output => output.Name != "log_prob").Concat(labels).ToList());
Save("round_trip", returned);
using (var again = encoder.Run(returned.Concat(labels).ToList())) Save("round_trip", again);

// Two convolutions whose result tells what number format this machine really computes in.
using (var result = canary.Run(Feeds("canary"))) Save("canary", result);
File.Copy(Path.Combine(source, "index.json"), Path.Combine(target, "index.json"), overwrite: true);
Console.WriteLine($"saved what the golden images gave in {target}");
