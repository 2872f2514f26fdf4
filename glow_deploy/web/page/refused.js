// What is told on the page in one line.
export class Refused extends Error {
  constructor(message, { status = 400, kind = "" } = {}) {
    super(message);
    this.status = status;
    this.kind = kind;
  }
}
