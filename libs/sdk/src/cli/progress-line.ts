const width = 24;

/** A bar on standard error that is drawn over itself on a terminal; in a log each step has its line. */
export function progressLine(stream: NodeJS.WriteStream = process.stderr) {
  let drawn = false;
  return {
    show(done: number, total: number, activity: string): void {
      const full = total === 0 ? width : Math.round((done / total) * width);
      const text = `[${'#'.repeat(full)}${'.'.repeat(width - full)}] ${done}/${total} ${activity}`;
      if (stream.isTTY) stream.write(`\r\u001b[K${text.slice(0, (stream.columns || 80) - 1)}`);
      else stream.write(`${text}\n`);
      drawn = true;
    },
    end(): void {
      if (drawn && stream.isTTY) stream.write('\r\u001b[K');
      drawn = false;
    },
  };
}
