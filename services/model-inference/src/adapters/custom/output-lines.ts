import type { Readable } from 'node:stream';

/** What a module prints goes to the log: lines are cut, and of many a second only the first are kept. */
const lineMax = 1_000;
const linesPerSecond = 20;

export interface OutputLine {
  readonly line: string;
  /** Lines that were left out since the one before. */
  readonly dropped: number;
}

/** Calls `onLine` for each line that a stream has, at most so many a second. */
export function followLines(stream: Readable, nowMs: () => number, onLine: (line: OutputLine) => void): void {
  let rest = '';
  let [secondStartMs, count, dropped] = [0, 0, 0];
  const take = (line: string) => {
    const atMs = nowMs();
    if (atMs - secondStartMs >= 1_000) [secondStartMs, count] = [atMs, 0];
    if (++count > linesPerSecond) {
      dropped++;
      return;
    }
    onLine({ line: line.slice(0, lineMax), dropped });
    dropped = 0;
  };
  stream.setEncoding('utf8');
  stream.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = (lines.pop() ?? '').slice(0, lineMax);
    for (const line of lines) if (line.trim() !== '') take(line);
  });
  stream.on('end', () => {
    if (rest.trim() !== '') take(rest);
  });
  stream.on('error', () => undefined);
}
