/**
 * Gathers what is written in one go into one frame. The driver writes message by message. Its own way to gather them waits for
 * a timer, which costs a millisecond per statement; one frame per message runs into Nagle's algorithm and delayed
 * acknowledgements, which cost forty. What is still unsent when the socket is gone is dropped; the driver's timer would
 * throw, where nobody can catch it.
 */
export class GatheringWebSocket extends WebSocket {
  #gathered: Uint8Array<ArrayBuffer>[] = [];

  override send(data: Uint8Array<ArrayBuffer>): void {
    // Two microtasks: the start-up, the password and the first flight are written one microtask apart.
    if (this.#gathered.push(data) === 1) queueMicrotask(() => queueMicrotask(() => this.#flush()));
  }

  override close(): void {
    this.#flush();
    super.close();
    // In workerd, it may open nevertheless: if the answer to its handshake has just arrived. The driver would log in over it.
    this.send = () => super.close();
  }

  #flush(): void {
    const parts = this.#gathered.splice(0);
    if (parts.length === 0 || this.readyState !== WebSocket.OPEN) return;
    const frame = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
    let offset = 0;
    for (const part of parts) {
      frame.set(part, offset);
      offset += part.length;
    }
    super.send(frame);
  }
}
