/** Sets a field whose name others chose: a plain assignment to `__proto__` would set no field, and lose the value. */
export function setField(out: Record<string, unknown>, name: string, value: unknown): void {
  if (name !== '__proto__') out[name] = value;
  else Object.defineProperty(out, name, { value, enumerable: true, writable: true, configurable: true });
}
