/** Just enough of protobuf's wire format to edit an ONNX file without decoding it: fields are kept as the bytes that they are. */
export interface WireField {
  readonly number: number;
  readonly type: number;
  /** The field with its tag, untouched. */
  readonly raw: Uint8Array;
  /** The content of a length-delimited field. */
  readonly content: Uint8Array;
}

export function fieldsOf(bytes: Uint8Array): WireField[] {
  const fields: WireField[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      if (byte === undefined) throw new RangeError('the file ends within a field');
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const start = at;
    const tag = varint();
    const type = tag & 7;
    let from = at;
    if (type === 0) varint();
    else if (type === 1) at += 8;
    else if (type === 5) at += 4;
    else if (type === 2) {
      const length = varint();
      from = at;
      at += length;
    } else throw new RangeError(`wire type ${type} is none of ONNX's`);
    if (at > bytes.length) throw new RangeError('a field runs past the end of the file');
    fields.push({ number: tag >>> 3, type, raw: bytes.subarray(start, at), content: bytes.subarray(from, at) });
  }
  return fields;
}

export function delimited(number: number, content: Uint8Array): Buffer {
  const head: number[] = [(number << 3) | 2];
  let rest = content.length;
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) head.push((rest & 0x7f) | 0x80);
  head.push(rest);
  return Buffer.concat([Buffer.from(head), content]);
}

export function textField(number: number, text: string): Buffer {
  return delimited(number, Buffer.from(text));
}

export function textOf(fields: readonly WireField[], number: number): string {
  const field = fields.find((candidate) => candidate.number === number);
  return field ? Buffer.from(field.content).toString('utf8') : '';
}
