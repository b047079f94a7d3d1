import type { Stream } from '../h2/stream.ts';

/** A WINDOW_UPDATE for so many bytes: one for each frame would double the frames. */
const grantBytes = 64 * 1024;

/** Gathers what the peer may send again. */
export function createGranter(stream: Stream): (bytes: number) => void {
  let gathered = 0;
  return (bytes) => {
    gathered += bytes;
    if (gathered < grantBytes) return;
    stream.grant(gathered);
    gathered = 0;
  };
}
