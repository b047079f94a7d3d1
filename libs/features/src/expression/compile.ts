import { type ASTNode, parse } from '@marcbachmann/cel-js';
import { type Comparison, comparison, membership } from './comparison.ts';
import { callFunction } from './functions.ts';
import { literal } from './literals.ts';
import { logic, negation, ternary } from './logic.ts';
import type { Node } from './node.ts';
import { type Arithmetic, arithmetic, minus } from './numbers.ts';

/** Characters of an expression; its SQL is a few times as long. */
const lengthMax = 10_000;
/** Levels of an expression: ClickHouse's parser takes a thousand of its own, a dozen or so for each. */
const depthMax = 32;

/** The node of a name, or undefined when there is none. */
export type Names = (name: string) => Node | undefined;

/** Says what is wrong with an expression, where, and what to do. */
export class ExpressionError extends Error {
  override readonly name = 'ExpressionError';
}

/** `what` the expression is for, as `filter`; `known` lists the names for messages. */
export function compileText(text: string, what: string, names: Names, known: () => string): Node {
  if (text.length > lengthMax)
    throw new ExpressionError(
      `${what} "${text.slice(0, 40)}…" has ${text.length} characters, over the limit of ${lengthMax}; make several features of it`,
    );
  return compileNode(parsed(text, what), { text, what, names, known, depth: 0 });
}

interface Context {
  readonly text: string;
  readonly what: string;
  readonly names: Names;
  readonly known: () => string;
  readonly depth: number;
}

function parsed(text: string, what: string): ASTNode {
  try {
    return parse(text).ast;
  } catch (cause) {
    const { range, message } = cause as Error & { readonly range?: { readonly start: number } };
    const at = range ? `, at character ${range.start + 1}` : '';
    throw new ExpressionError(`${what} "${text}"${at}, cannot be parsed: ${message.split('\n')[0]}`, { cause });
  }
}

function compileNode(ast: ASTNode, given: Context): Node {
  const context = { ...given, depth: given.depth + 1 };
  try {
    if (context.depth > depthMax) throw new Error(`is deeper than ${depthMax} levels; make several features of it`);
    return nodeOf(ast, context);
  } catch (error) {
    if (error instanceof ExpressionError) throw error;
    const part = given.text.slice(ast.start, ast.end);
    const at =
      part === given.text
        ? ''
        : `, at character ${ast.start + 1} ("${part.length > 60 ? `${part.slice(0, 60)}…` : part}")`;
    throw new ExpressionError(`${given.what} "${given.text}"${at}: ${(error as Error).message}`, { cause: error });
  }
}

function nodeOf(ast: ASTNode, context: Context): Node {
  const sub = (part: ASTNode) => compileNode(part, context);
  switch (ast.op) {
    case 'id':
      return named(ast.args, context);
    case 'value':
      return literal(ast.args);
    case '!_':
      return negation(sub(ast.args));
    case '-_':
      return negative(ast.args, sub);
    case '&&':
    case '||':
      return logic(ast.op, chain(ast, ast.op).map(sub));
    case '==':
    case '!=':
    case '<':
    case '<=':
    case '>':
    case '>=':
      return comparison(ast.op satisfies Comparison, sub(ast.args[0]), sub(ast.args[1]));
    case '+':
    case '-':
    case '*':
    case '/':
    case '%':
      return arithmetic(ast.op satisfies Arithmetic, sub(ast.args[0]), sub(ast.args[1]));
    case '?:':
      return ternary(sub(ast.args[0]), sub(ast.args[1]), sub(ast.args[2]));
    case 'in': {
      const [needle, list] = ast.args;
      if (list.op !== 'list') throw new Error('"in" needs a list, as in ["a", "b"]');
      return membership(sub(needle), list.args.map(sub), (parts) => logic('||', parts));
    }
    case 'call':
      return callFunction(ast.args[0], ast.args[1].map(sub));
    case 'rcall': {
      const [name, target, parts] = ast.args;
      const isMath = target.op === 'id' && target.args === 'math' && !context.names('math');
      return callFunction(name, (isMath ? parts : [target, ...parts]).map(sub));
    }
    default:
      throw new Error(
        `"${ast.op}" is not supported; use comparisons, && || !, + - * / %, ? :, in [ ], and functions such as coalesce, min, round, size`,
      );
  }
}

function named(name: string, { names, known }: Context): Node {
  const node = names(name);
  if (!node) throw new Error(`there is no "${name}"; names: ${known()}`);
  return node;
}

function negative(inner: ASTNode, sub: (part: ASTNode) => Node): Node {
  if (inner.op === 'value' && (typeof inner.args === 'bigint' || typeof inner.args === 'number'))
    return literal(-inner.args);
  return minus(sub(inner));
}

/** `a && b && c` is one level, not two. */
function chain(ast: ASTNode, op: '&&' | '||'): ASTNode[] {
  const parts: ASTNode[] = [];
  const pending = [ast];
  for (let next = pending.pop(); next; next = pending.pop()) {
    if (next.op === op) pending.push(next.args[1], next.args[0]);
    else parts.push(next);
  }
  return parts;
}
