/** The texts that a JSON answer is full of, written byte by byte. */

export function writeAscii(bytes: Buffer, start: number, text: string): number {
  let at = start;
  for (let i = 0; i < text.length; i++) bytes[at++] = text.charCodeAt(i);
  return at;
}

/** A little-endian int64 as decimal digits, exact whatever its size. */
export function writeInteger(bytes: Buffer, at: number, data: DataView, from: number): number {
  const low = data.getInt32(from, true);
  const high = data.getInt32(from + 4, true);
  if (high === low >> 31 && low > -0x8000_0000) return writeInt32(bytes, at, low);
  const number = high * 0x1_0000_0000 + (low >>> 0);
  return writeAscii(bytes, at, String(Number.isSafeInteger(number) ? number : data.getBigInt64(from, true)));
}

function writeInt32(bytes: Buffer, start: number, value: number): number {
  let at = start;
  let rest = value;
  if (rest < 0) {
    bytes[at++] = 0x2d;
    rest = -rest;
  }
  let digits = 1;
  for (let limit = 10; limit <= rest && digits < 10; limit *= 10) digits++;
  const end = at + digits;
  for (let i = end - 1; i >= at; i--) {
    const next = (rest / 10) | 0;
    bytes[i] = 0x30 + rest - next * 10;
    rest = next;
  }
  return end;
}

const secondsPerDay = 86_400;
let dayText = '';
let day = -1;

/** `"2026-01-02T03:04:05.678Z",`: no, three or six digits of a second, as protobuf's JSON has it. */
export function writeTime(bytes: Buffer, start: number, timeUs: number): number {
  const seconds = Math.floor(timeUs / 1e6);
  const micros = timeUs - seconds * 1e6;
  const days = Math.floor(seconds / secondsPerDay);
  if (days !== day) {
    dayText = new Date(days * secondsPerDay * 1000).toISOString().slice(0, 10);
    day = days;
  }
  const ofDay = seconds - days * secondsPerDay;
  const hours = (ofDay / 3600) | 0;
  const minutes = ((ofDay - hours * 3600) / 60) | 0;
  let at = start;
  bytes[at++] = 0x22;
  at = writeAscii(bytes, at, dayText);
  bytes[at++] = 0x54;
  at = writeDigits(bytes, at, hours, 2);
  bytes[at++] = 0x3a;
  at = writeDigits(bytes, at, minutes, 2);
  bytes[at++] = 0x3a;
  at = writeDigits(bytes, at, ofDay - hours * 3600 - minutes * 60, 2);
  if (micros > 0) {
    bytes[at++] = 0x2e;
    at = micros % 1000 === 0 ? writeDigits(bytes, at, micros / 1000, 3) : writeDigits(bytes, at, micros, 6);
  }
  bytes[at++] = 0x5a;
  bytes[at++] = 0x22;
  bytes[at++] = 0x2c;
  return at;
}

function writeDigits(bytes: Buffer, at: number, value: number, digits: number): number {
  let rest = value;
  for (let i = at + digits - 1; i >= at; i--) {
    const next = (rest / 10) | 0;
    bytes[i] = 0x30 + rest - next * 10;
    rest = next;
  }
  return at + digits;
}

/** As Python writes a float: a whole one keeps its `.0`, so that a client does not take it for an integer. */
export function doubleText(value: number): string {
  if (!Number.isFinite(value)) return `"${value}"`;
  if (Object.is(value, -0)) return '-0.0';
  return Number.isInteger(value) && Math.abs(value) < 1e21 ? `${value}.0` : String(value);
}
