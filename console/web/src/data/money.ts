// Amounts are texts of smallest units and an asset. They are never a Number.

const scales = new Map<string, number>();

/** learnScales takes the decimals of the assets that have not 2; the server knows them. */
export function learnScales(of: Record<string, number> | undefined) {
  for (const [asset, n] of Object.entries(of ?? {})) scales.set(asset, n);
}

export function scaleOf(asset: string): number {
  return scales.get(asset) ?? 2;
}

/** decimal writes smallest units in major ones, in full, without grouping. */
export function decimal(minor: string | bigint, asset: string): string {
  const n = BigInt(minor);
  const scale = scaleOf(asset);
  const digits = (n < 0n ? -n : n).toString().padStart(scale + 1, '0');
  const whole = digits.slice(0, digits.length - scale);
  const part = scale > 0 ? `.${digits.slice(-scale)}` : '';
  return `${n < 0n ? '-' : ''}${whole}${part}`;
}

const symbols: Record<string, string> = { CNY: '¥', USD: '$', EUR: '€', GBP: '£', JPY: 'JP¥', INR: '₹', KRW: '₩' };

/** amountText is for people: grouped, with the sign before the symbol, "−¥48,210.00"; an
 * asset without a symbol of its own follows its figure. More than 8 decimals lose their
 * trailing zeros, nothing else. */
export function amountText(minor: string | bigint, asset: string): string {
  const plain = decimal(minor, asset);
  const negative = plain.startsWith('-');
  const [whole = '0', part] = (negative ? plain.slice(1) : plain).split('.');
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ',');
  const tail = part === undefined ? '' : part.length > 8 ? part.replace(/0+$/, '').padEnd(2, '0') : part;
  const figure = tail === '' ? grouped : `${grouped}.${tail}`;
  const symbol = symbols[asset];
  return `${negative ? '\u2212' : ''}${symbol ? symbol + figure : `${figure}\u00a0${asset}`}`;
}

/** sum adds texts of smallest units. */
export function sum(all: Iterable<string>): string {
  let total = 0n;
  for (const one of all) total += BigInt(one);
  return total.toString();
}

/** minorOf reads what a person typed, "48,210.5", as smallest units; undefined when it is
 * no amount of this asset. */
export function minorOf(text: string, asset: string): string | undefined {
  const m = /^(-?)(\d+)(?:\.(\d+))?$/.exec(text.replace(/[,\s]/g, ''));
  if (!m) return undefined;
  const scale = scaleOf(asset);
  const part = m[3] ?? '';
  if (part.length > scale) return undefined;
  return `${m[1]}${BigInt(m[2] + part.padEnd(scale, '0'))}`;
}
