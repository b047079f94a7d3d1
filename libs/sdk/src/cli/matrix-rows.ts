import { serving } from '@millrace/contracts';
import { listValues, vectorValues } from '../list-values.ts';

const { NULL, NOT_FOUND, UNAVAILABLE, OUT_OF_ROW } = serving.ValueStatus;
const withoutValue: ReadonlySet<number> = new Set([NULL, NOT_FOUND, UNAVAILABLE, OUT_OF_ROW]);

export const statusName = (status: number): string =>
  Object.entries(serving.ValueStatus).find(([, value]) => value === status)?.[0] ?? '?';

/** The matrix as one object a row. */
export function rowsOf(response: serving.GetFeaturesResponse): Record<string, { value: unknown; status: string }>[] {
  const { features, statuses } = response;
  const width = [0, 0, 0, 0, 0, 0];
  for (const column of features) width[column.block] = (width[column.block] ?? 0) + 1;
  const count = features.length === 0 ? 0 : statuses.length / features.length;
  return Array.from({ length: count }, (_, row) =>
    Object.fromEntries(
      features.map((column, index) => {
        const status = statuses[row * features.length + index] ?? 0;
        const at = row * (width[column.block] ?? 0) + column.column;
        const value =
          column.block === 1
            ? response.doubles[at]
            : column.block === 2
              ? response.int64s[at]
              : column.block === 3
                ? response.strings[column.column]?.values[row]
                : column.block === 4
                  ? listValues(response.lists[column.column], column.type, row)
                  : vectorValues(response.vectors[column.column], row);
        const isNull =
          value === undefined || (typeof value === 'number' && Number.isNaN(value)) || withoutValue.has(status);
        return [
          column.name,
          { value: isNull ? null : column.type === 'BOOL' ? value === 1n : value, status: statusName(status) },
        ];
      }),
    ),
  );
}
