// Where everything of the river is, in pixels. Pure: the same look and width give the
// same picture.
import { behind, join, laneOf, type Hop, type HopState, type Look, type Pile } from './look';

export type Ribbon = { key: string; d: string; width: number; per: number; state: HopState };
export type Gate = { hop: string; x: number; y: number; w: number; h: number; state: HopState };
export type Lake = { hop: string; d: string; lines: string[]; state: HopState };
export type Label = { hop: Hop; x: number; y: number; max: number; align: 'left' | 'center' | 'above'; flow: number | undefined; pile: Pile; upright: boolean };

export type Picture = {
  width: number;
  height: number;
  ribbons: Ribbon[];
  gates: Gate[];
  lakes: Lake[];
  labels: Label[];
  ends: { x: number; y: number; kind: 'in' | 'final'; per: number }[];
  /** Where everything is final; the upright river has its end instead. */
  sea?: { x: number; y: number; h: number };
  /** Channels that are well and have nothing to do; they are one line. */
  idle: Hop[];
};

/** How wide a flow is: a river that carries a hundred times as much is a few times as wide. */
export const widthOf = (per: number) => (per <= 0 ? 1.5 : Math.min(34, 3 + 8 * Math.log10(1 + 8 * per)));

const channelsMost = 12;
const gateWidth = 7;

function curve(x1: number, y1: number, x2: number, y2: number): string {
  const mid = (x1 + x2) / 2;
  return `M${r(x1)} ${r(y1)}C${r(mid)} ${r(y1)} ${r(mid)} ${r(y2)} ${r(x2)} ${r(y2)}`;
}

function straight(x1: number, y1: number, until: number, x2: number, y2: number): string {
  const mid = (until + x2) / 2;
  return `M${r(x1)} ${r(y1)}H${r(until)}C${r(mid)} ${r(y1)} ${r(mid)} ${r(y2)} ${r(x2)} ${r(y2)}`;
}

function fall(x1: number, y1: number, x2: number, y2: number): string {
  const mid = (y1 + y2) / 2;
  return `M${r(x1)} ${r(y1)}C${r(x1)} ${r(mid)} ${r(x2)} ${r(mid)} ${r(x2)} ${r(y2)}`;
}

const r = (v: number) => Math.round(v * 10) / 10;

/** A lake lies before its gate, as large as what waits there. */
function lake(hop: Hop, pile: Pile, x: number, y: number, least: number, upright: boolean): Lake | undefined {
  if (pile.items <= 0) return undefined;
  const size = Math.log10(1 + pile.items);
  const loud = hop.state === 'stalled' || hop.state === 'waiting' ? 1.45 : 1;
  const deep = Math.min(upright ? 48 : 130, (8 + 22 * size) * loud);
  const high = Math.min(upright ? 46 : 66, least + 9 * size * loud);
  const a = y - high / 2;
  const b = y + high / 2;
  const lines = [0.38, 0.62].map((f) => {
    const ly = a + high * f;
    const half = deep * 0.5;
    return `M${r(x - half - 4)} ${r(ly)}q${r(half / 4)} -2.4 ${r(half / 2)} 0t${r(half / 2)} 0`;
  });
  return { hop: hop.name, d: `M${r(x)} ${r(a)}C${r(x - deep * 1.3)} ${r(a)} ${r(x - deep * 1.3)} ${r(b)} ${r(x)} ${r(b)}Z`, lines: deep > 26 ? lines : [], state: hop.state };
}

const loudly = (hop: Hop, pile: Pile) => (hop.state === 'stalled' || hop.state === 'waiting') && pile.items > 0;

/** Which channels get an arm of their own: whatever is in trouble, then the busiest. */
export function armsOf(look: Look): { arms: Hop[]; idle: Hop[] } {
  const all = look.hops.filter((h) => h.kind === 'channel');
  const weight = (h: Hop) =>
    (h.state === 'stalled' ? 1e9 : h.state === 'waiting' ? 1e8 : h.state === 'unknown' ? 1e7 : 0) + (behind(look, h).items + (h.held ?? 0)) * 10 + (h.in_s ?? 0) + (h.out_s ?? 0);
  const busy = all.filter((h) => weight(h) > 0).sort((a, b) => weight(b) - weight(a));
  const arms = busy.slice(0, channelsMost).sort((a, b) => a.name.localeCompare(b.name));
  return { arms, idle: all.filter((h) => !arms.includes(h)) };
}

type Flows = (from: string, to: string) => number;

function flowsOf(look: Look): Flows {
  const at = new Map(look.flows.map((f) => [`${f.from}>${f.to}`, f.per_s]));
  return (from, to) => at.get(`${from}>${to}`) ?? 0;
}

export function draw(look: Look, width: number): Picture {
  return width < 720 ? upright(look, width) : flat(look, width);
}

function find(look: Look, name: string): Hop {
  return look.hops.find((h) => h.name === name) ?? { name, kind: 'queue', state: 'unknown', since: look.at };
}

/** What of dispatch's work belongs to no arm that is drawn. */
function restOf(look: Look, arms: Hop[]): Pile {
  const d = find(look, 'dispatch');
  const lanes = (d.lanes ?? []).filter((l) => !arms.some((a) => a.name === l.channel));
  return (d.lanes ?? []).length === 0 ? join(d.waits) : join(...lanes.map((l) => l.waits));
}

/** The river from left to right. */
function flat(look: Look, width: number): Picture {
  const flow = flowsOf(look);
  const { arms, idle } = armsOf(look);
  // What is in trouble has more to say, and gets the room for it.
  const room = arms.map((a) => (loudly(a, behind(look, a)) ? 98 : arms.length > 9 ? 50 : 56));
  const top = 84;
  const all = room.reduce((s, h) => s + h, 0);
  const high = Math.max(all, 230);
  const height = top + high + 34;
  const middle = top + high / 2;
  const xs = { in: 6, api: width * 0.1, decider: width * 0.235, dispatch: width * 0.375, channel: width * 0.555, answer: width * 0.83, final: width - 84 };
  const run = Math.min(150, width * 0.13); // an arm goes straight below its name
  const p: Picture = { width, height, ribbons: [], gates: [], lakes: [], labels: [], ends: [], idle };
  const ribbon = (key: string, d: string, per: number, state: HopState) => p.ribbons.push({ key, d, width: widthOf(per), per, state });
  const [api, decider, dispatch, callbacks, settle] = ['api', 'decider', 'dispatch', 'callbacks', 'settle'].map((n) => find(look, n)) as [Hop, Hop, Hop, Hop, Hop];
  const asked = flow('api', 'decider');
  const sent = flow('decider', 'dispatch');
  const direct = flow('decider', 'final');

  // Stacks of what leaves dispatch and what comes to the two that answer, so that arms do
  // not lie upon one another.
  const armY = (i: number) => top + (high - all) / 2 + room.slice(0, i + 1).reduce((s, h) => s + h, 0) - 26;
  const out = arms.map((a) => widthOf(flow('dispatch', a.name)));
  const total = out.reduce((s, w) => s + w, 0);
  const callbackY = top + high * 0.36;
  const settleY = top + high * 0.82;
  const answered = arms.map((a) => widthOf(flow(a.name, 'callbacks')));
  const answeredTotal = answered.reduce((s, w) => s + w, 0);
  // The sea: what arrives lies side by side.
  const arrives = [direct, flow('callbacks', 'final'), flow('settle', 'final')].map(widthOf);
  const sea = (direct > 0 ? (arrives[0] ?? 0) : 0) + (arrives[1] ?? 0) + (arrives[2] ?? 0);
  const seaTop = callbackY - sea / 2;
  const seaAt = (i: number) => seaTop + (direct > 0 ? (arrives[0] ?? 0) : 0) + (i > 1 ? (arrives[1] ?? 0) : 0) + (arrives[i] ?? 0) / 2;
  const gate = (hop: Hop, x: number, y: number, h: number) => p.gates.push({ hop: hop.name, x: x - gateWidth / 2, y: y - h / 2, w: gateWidth, h, state: hop.state });
  const tall = (per: number) => Math.max(34, widthOf(per) + 14);

  ribbon('in', `M${xs.in} ${r(middle)}H${r(xs.api)}`, asked, api.state);
  ribbon('api>decider', `M${r(xs.api)} ${r(middle)}H${r(xs.decider)}`, asked, decider.state);
  if (direct > 0) {
    const y = 40;
    const from = middle - widthOf(asked) / 2 + widthOf(direct) / 2;
    const turn = xs.decider + (xs.dispatch - xs.decider) * 0.9;
    const back = xs.answer + (xs.final - xs.answer) * 0.1;
    const land = seaTop + widthOf(direct) / 2;
    ribbon(
      'decider>final',
      `M${r(xs.decider)} ${r(from)}C${r(xs.decider + 70)} ${r(from)} ${r(xs.decider + 60)} ${y} ${r(turn)} ${y}H${r(back)}C${r(back + 50)} ${y} ${r(xs.final - 60)} ${r(land)} ${r(xs.final)} ${r(land)}`,
      direct,
      'fine',
    );
  }
  ribbon('decider>dispatch', `M${r(xs.decider)} ${r(middle)}H${r(xs.dispatch)}`, sent, dispatch.state);
  gate(api, xs.api, middle, tall(asked));
  gate(decider, xs.decider, middle, tall(asked));
  gate(dispatch, xs.dispatch, middle, Math.max(tall(sent), total + 6));
  let yOut = middle - total / 2;
  let yIn = callbackY - answeredTotal / 2;
  arms.forEach((a, i) => {
    const y = armY(i);
    const w = out[i] ?? 0;
    ribbon(`dispatch>${a.name}`, curve(xs.dispatch, yOut + w / 2, xs.channel, y), flow('dispatch', a.name), a.state);
    yOut += w;
    const back = answered[i] ?? 0;
    ribbon(`${a.name}>callbacks`, straight(xs.channel, y, xs.channel + run, xs.answer, yIn + back / 2), flow(a.name, 'callbacks'), callbacks.state);
    yIn += back;
    const lost = flow(a.name, 'settle');
    if (lost > 0) ribbon(`${a.name}>settle`, straight(xs.channel, y, xs.channel + run, xs.answer, settleY), lost, 'waiting');
    gate(a, xs.channel, y, Math.max(22, widthOf(flow('dispatch', a.name)) + 8));
    const pile = behind(look, a);
    const l = lake(a, pile, xs.channel - gateWidth / 2, y, 14, false);
    if (l) p.lakes.push(l);
    p.labels.push({ hop: a, x: xs.channel + 8, y: y - Math.max(widthOf(flow(a.name, 'callbacks')) / 2, 4) - 1, max: xs.answer - xs.channel - 20, align: 'above', flow: a.out_s, pile, upright: false });
  });
  ribbon('callbacks>final', curve(xs.answer, callbackY, xs.final, seaAt(1)), flow('callbacks', 'final'), callbacks.state);
  ribbon('settle>final', curve(xs.answer, settleY, xs.final, seaAt(2)), flow('settle', 'final'), settle.state);
  gate(callbacks, xs.answer, callbackY, Math.max(34, answeredTotal + 8));
  gate(settle, xs.answer, settleY, 34);
  for (const [h, x, y, pile] of [
    [decider, xs.decider, middle, join(decider.waits)],
    [dispatch, xs.dispatch, middle, restOf(look, arms)],
    [settle, xs.answer, settleY, join(settle.waits)],
    [callbacks, xs.answer, callbackY, { items: Math.round(callbacks.figures?.callback_backlog ?? 0), value: {} }],
  ] as [Hop, number, number, Pile][]) {
    const l = lake(h, pile, x - gateWidth / 2, y, 26, false);
    if (l) p.lakes.push(l);
  }
  const column = width * 0.145;
  const below = middle + Math.max(tall(asked), Math.max(tall(sent), total)) / 2 + 8;
  const label = (hop: Hop, x: number, y: number, per: number | undefined, pile: Pile) => p.labels.push({ hop, x, y, max: column, align: 'center', flow: per, pile, upright: false });
  label(api, xs.api, below, asked, { items: 0, value: {} });
  label(decider, xs.decider, below, undefined, join(decider.waits));
  label(dispatch, xs.dispatch, below, sent, restOf(look, arms));
  label(callbacks, xs.answer, callbackY + Math.max(34, answeredTotal + 8) / 2 + 4, callbacks.figures?.rate, { items: Math.round(callbacks.figures?.callback_backlog ?? 0), value: {} });
  p.labels.push({ hop: settle, x: xs.answer + 10, y: settleY, max: width - xs.answer - 10, align: 'left', flow: settle.out_s, pile: join(settle.waits), upright: false });
  p.sea = { x: xs.final - 2, y: seaTop - 6, h: sea + 12 };
  p.ends.push({ x: xs.final + 12, y: callbackY, kind: 'final', per: direct + flow('callbacks', 'final') + flow('settle', 'final') });
  return p;
}

/** The same from top to bottom, with the channels as arms at the side of the stream. */
function upright(look: Look, width: number): Picture {
  const flow = flowsOf(look);
  const { arms, idle } = armsOf(look);
  const x = 38;
  const arm = 104;
  const p: Picture = { width, height: 0, ribbons: [], gates: [], lakes: [], labels: [], ends: [], idle };
  const [api, decider, dispatch, callbacks, settle] = ['api', 'decider', 'dispatch', 'callbacks', 'settle'].map((n) => find(look, n)) as [Hop, Hop, Hop, Hop, Hop];
  const ribbon = (key: string, d: string, per: number, state: HopState) => p.ribbons.push({ key, d, width: widthOf(per), per, state });
  const asked = flow('api', 'decider');
  const sent = flow('decider', 'dispatch');
  const answered = flow('callbacks', 'final');
  const step = 74;
  let y = 44;
  const main = (hop: Hop, per: number | undefined, pile: Pile) => {
    p.gates.push({ hop: hop.name, x: x - 18, y: y - gateWidth / 2, w: 36, h: gateWidth, state: hop.state });
    p.labels.push({ hop, x: 68, y, max: width - 76, align: 'left', flow: per, pile, upright: true });
  };
  const nothing: Pile = { items: 0, value: {} };
  ribbon('in', `M${x} 4V${y}`, asked, api.state);
  main(api, asked, nothing);
  ribbon('api>decider', `M${x} ${y}V${y + step}`, asked, decider.state);
  y += step;
  main(decider, undefined, join(decider.waits));
  ribbon('decider>dispatch', `M${x} ${y}V${y + step}`, sent, dispatch.state);
  y += step;
  main(dispatch, sent, restOf(look, arms));
  let carried = 0;
  let before = y;
  y += step * 0.85;
  for (const a of arms) {
    const per = flow('dispatch', a.name);
    const left = Math.max(sent - carried, 0);
    ribbon(`trunk ${a.name}`, `M${x} ${before}V${y}`, left, 'fine');
    ribbon(`dispatch>${a.name}`, `M${x} ${y - 16}C${x} ${y} ${x + 14} ${y} ${x + 26} ${y}H${arm}`, per, a.state);
    carried += per;
    p.gates.push({ hop: a.name, x: arm - gateWidth / 2, y: y - 12, w: gateWidth, h: 24, state: a.state });
    const pile = behind(look, a);
    const l = lake(a, pile, arm - gateWidth / 2, y, 10, true);
    if (l) p.lakes.push(l);
    p.labels.push({ hop: a, x: arm + 12, y, max: width - arm - 20, align: 'left', flow: a.out_s, pile, upright: true });
    before = y;
    y += 66;
  }
  ribbon('trunk end', `M${x} ${before}V${y}`, answered, callbacks.state);
  main(callbacks, callbacks.figures?.rate, { items: Math.round(callbacks.figures?.callback_backlog ?? 0), value: {} });
  ribbon('callbacks>settle', `M${x} ${y}V${y + step}`, answered, settle.state);
  y += step;
  main(settle, settle.out_s, join(settle.waits));
  const direct = flow('decider', 'final');
  ribbon('settle>final', fall(x, y, x, y + 56), answered + direct + flow('settle', 'final'), 'fine');
  y += 56;
  p.ends.push({ x: x + 30, y, kind: 'final', per: direct + answered + flow('settle', 'final') });
  p.height = y + 34;
  return p;
}

export { laneOf };
