import { type TreeField, type TreeMessage, type TreeValue, wrongConfig } from './config-tree.ts';

const depthMax = 32;

/** A configuration in protobuf's JSON (names in snake or camel case, 64-bit integers as numbers or texts, maps as objects). */
export function treeOfJson(value: unknown): TreeMessage {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw wrongConfig('the whole', 'it is JSON and not an object');
  return message(value as Readonly<Record<string, unknown>>, '', 0);
}

function message(value: Readonly<Record<string, unknown>>, path: string, depth: number): TreeMessage {
  if (depth > depthMax) throw wrongConfig(path, `messages are nested deeper than ${depthMax}`);
  const fields = Object.entries(value).flatMap(([name, given]): TreeField[] => {
    const where = path === '' ? name : `${path}.${name}`;
    // in protobuf's JSON null stands for what is left out
    if (given === null || given === undefined) return [];
    if (!Array.isArray(given)) return [{ name, value: valueIn(given, where, depth), where }];
    return given.map((item, at) => ({
      name,
      value: valueIn(item, `${where}[${at}]`, depth),
      where: `${where}[${at}]`,
    }));
  });
  return { t: 'message', fields, isJson: true };
}

function valueIn(given: unknown, where: string, depth: number): TreeValue {
  switch (typeof given) {
    case 'string':
      return { t: 'text', text: given };
    case 'number':
    case 'bigint':
    case 'boolean':
      return { t: 'word', text: String(given) };
    case 'object':
      if (given !== null && !Array.isArray(given))
        return message(given as Readonly<Record<string, unknown>>, where, depth + 1);
      throw wrongConfig(where, 'a list in a list, or null in one, is not a value');
    default:
      throw wrongConfig(where, `${typeof given} is not a value`);
  }
}
