const minuteUs = 60_000_000;
const hourUs = 60 * minuteUs;

export type Order = {
  readonly shop: string;
  readonly amount: number | null;
  readonly items: number;
  readonly channel: string;
};
/** What an order is now, and when it became that: its place among all operations. */
export type Version = Order & { readonly atUs: number; readonly place: number };

/** Of the shop's orders as they are now. */
export function bruteForce(
  current: ReadonlyMap<string, Version>,
  name: string,
  asOfUs: number,
  features: readonly string[],
): readonly unknown[] {
  const all = [...current.values()]
    .filter((order) => order.shop === name && order.atUs < asOfUs)
    .sort((a, b) => a.atUs - b.atUs || a.place - b.place);
  return features.map((feature) => {
    const at = feature.lastIndexOf('_');
    const within = inWindow(all, asOfUs, feature.slice(at + 1));
    const amounts = within.flatMap(({ amount }) => (amount === null ? [] : [amount]));
    const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
    const values: Readonly<Record<string, unknown>> = {
      count: within.length,
      items: within.length === 0 ? null : sum(within.map(({ items }) => items)),
      max: amounts.length === 0 ? null : Math.max(...amounts),
      web: within.filter(({ channel }) => channel === 'web').length,
      first: within.at(0)?.items ?? null,
      last: within.at(-1)?.items ?? null,
      channels: within
        .slice(-3)
        .reverse()
        .map(({ channel }) => channel),
      mean: amounts.length === 0 ? null : sum(amounts) / amounts.length,
    };
    return values[feature.slice(0, at)];
  });
}

function inWindow(orders: readonly Version[], asOfUs: number, window: string): readonly Version[] {
  const floor = (us: number, hopUs: number) => Math.floor(us / hopUs) * hopUs;
  if (window === 's60') return orders.filter(({ atUs }) => atUs >= floor(asOfUs - hourUs, 5 * minuteUs));
  if (window === 's24') return orders.filter(({ atUs }) => atUs >= floor(asOfUs - 24 * hourUs, hourUs));
  if (window === 'all') return orders;
  const gapUs = 20 * minuteUs;
  let from = orders.length;
  let laterUs = asOfUs;
  while (from > 0 && laterUs - (orders[from - 1]?.atUs ?? 0) <= gapUs) laterUs = orders[--from]?.atUs ?? 0;
  return orders.slice(from);
}
