// The page's questions go to the server that it came from.

export const GONE = "the server does not answer; is glow-deploy explore still running?";

export const send = (path, options) => fetch(path, options);
