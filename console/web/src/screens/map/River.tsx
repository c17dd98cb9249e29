// The picture: drawn by hand, and moved by what really flows. A drop is one payment, up to
// six a second in each arm; beyond that the width says how many.
import { useReducedMotion } from '@mantine/hooks';
import { memo, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';
import { Mark, useSpan, useTick } from '../../parts';
import { useWords } from '../../words/words';
import { draw, type Label, type Picture } from './layout';
import { tones, type Look } from './look';
import { Worth } from './Worth';
import classes from './map.module.css';
import words from './words.json';

const speed = 62; // pixels a second
const gaps = [10, 14, 20, 28, 40, 62, 96, 150, 240, 400];

/** gapOf is the distance of drops, so that as many pass as payments do. */
const gapOf = (per: number) => gaps.reduce((best, g) => (Math.abs(Math.log(g / (speed / per))) < Math.abs(Math.log(best / (speed / per))) ? g : best), 10);

export function figure(per: number): string {
  return per >= 100 ? per.toFixed(0) : per >= 10 ? per.toFixed(0) : per >= 0.95 ? per.toFixed(1) : per > 0 ? per.toFixed(2) : '0';
}

export function River({ look, still, chosen, choose }: { look: Look; still: boolean; chosen: string; choose: (hop: string) => void }) {
  const t = useWords(words);
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useLayoutEffect(() => {
    const el = box.current;
    if (!el) return;
    const watch = new ResizeObserver(() => setWidth(el.clientWidth));
    watch.observe(el);
    setWidth(el.clientWidth);
    return () => watch.disconnect();
  }, []);
  const picture = useMemo(() => (width > 0 ? draw(look, width) : undefined), [look, width]);
  return (
    <div ref={box} className={classes.river} style={{ minHeight: 360 }}>
      {picture && (
        <>
          <Water picture={picture} still={still} choose={choose} />
          {picture.labels.map((l) => (
            <HopLabel key={l.hop.name} label={l} at={look.at} still={still} chosen={l.hop.name === chosen} choose={choose} />
          ))}
          {picture.ends.map((e) => (
            <div key={e.kind} className={classes.end} style={{ left: e.x, top: e.y }}>
              <strong>{t(e.kind === 'final' ? 'final' : 'api')}</strong>
              <span>{t('per_s', { n: figure(e.per) })}</span>
            </div>
          ))}
        </>
      )}
    </div>
  );
}

const Water = memo(function Water({ picture, still, choose }: { picture: Picture; still: boolean; choose: (hop: string) => void }) {
  const drops = useRef<SVGGElement>(null);
  const calm = useReducedMotion(undefined, { getInitialValueInEffect: false });
  useEffect(() => {
    if (calm || still) return;
    let at = performance.now();
    let travelled = Number(drops.current?.dataset.travelled ?? 0);
    let frame = 0;
    const turn = (now: number) => {
      travelled += (Math.min(now - at, 100) / 1000) * speed;
      at = now;
      const g = drops.current;
      if (g) {
        g.dataset.travelled = String(travelled);
        for (const path of g.children) (path as SVGPathElement).style.strokeDashoffset = `${-(travelled % 48_000)}`;
      }
      frame = requestAnimationFrame(turn);
    };
    frame = requestAnimationFrame(turn);
    return () => cancelAnimationFrame(frame);
  }, [calm, still]);
  return (
    <svg width={picture.width} height={picture.height} className={classes.svg} aria-hidden focusable="false">
      <g fill="none">
        {picture.ribbons.map((r) => (
          <path key={r.key} d={r.d} className={`${classes.ribbon} ${r.per > 0 ? classes[`water_${r.state}`] : classes.dry}`} strokeWidth={r.width} strokeDasharray={r.per > 0 ? undefined : '3 6'} />
        ))}
      </g>
      <g>
        {picture.lakes.map((l) => (
          <g key={l.hop} className={`${classes.lake} ${classes[`lake_${l.state}`]}`} onClick={() => choose(l.hop)}>
            <path d={l.d} />
            {l.lines.map((d) => (
              <path key={d} d={d} className={classes.wave} />
            ))}
          </g>
        ))}
      </g>
      <g fill="none" ref={drops}>
        {picture.ribbons
          .filter((r) => r.per > 0.05)
          .map((r) => (
            <path key={r.key} d={r.d} className={classes.drops} strokeWidth={Math.max(2, Math.min(4.5, r.width * 0.3))} strokeDasharray={`0.1 ${gapOf(r.per)}`} />
          ))}
      </g>
      <g>
        {picture.sea && <rect x={picture.sea.x} y={picture.sea.y} width={5} height={picture.sea.h} rx={2.5} className={classes.sea} />}
        {picture.gates.map((g) => (
          <rect key={g.hop} x={g.x} y={g.y} width={g.w} height={g.h} rx={3.5} className={`${classes.gate} ${classes[`gate_${g.state}`]}`} onClick={() => choose(g.hop)} />
        ))}
      </g>
    </svg>
  );
});

function HopLabel({ label, at, still, chosen, choose }: { label: Label; at: string; still: boolean; chosen: boolean; choose: (hop: string) => void }) {
  const t = useWords(words);
  const span = useSpan();
  const tick = useTick();
  const { hop, pile } = label;
  const now = still ? new Date(at).getTime() : Math.max(tick, new Date(at).getTime());
  const age = pile.oldest ? (now - new Date(pile.oldest).getTime()) / 1000 : undefined;
  const loud = hop.state === 'stalled' || hop.state === 'waiting';
  const name = t.maybe(`hop_${hop.name}`) ?? hop.name;
  return (
    <button
      type="button"
      className={`${classes.label} ${classes[`at_${label.align}`]} ${chosen ? classes.chosen : ''} ${loud ? classes.loud : ''}`}
      style={{ left: label.x, top: label.y, maxWidth: label.max }}
      onClick={() => choose(hop.name)}
      data-hop={hop.name}
      data-state={hop.state}
      aria-pressed={chosen}
    >
      <span className={classes.name}>
        {hop.state !== 'fine' && <Mark tone={tones[hop.state]} size={13} />}
        {name}
        <span className={classes.heard}>: {t(`state_${hop.state}`)}</span>
        {!loud && label.flow !== undefined && label.flow > 0 && <small>{t('per_s', { n: figure(label.flow) })}</small>}
        {!loud && pile.items > 0 && <small>{t('there', { n: pile.items })}</small>}
      </span>
      {loud && pile.items > 0 && (
        <span className={`${classes.pile} ${classes[`tone_${hop.state}`]}`}>
          <b>{t('waits', { n: pile.items })}</b>
          {age !== undefined && `, ${t('up_to', { age: span('for', age) })}`}
          <br />
          <Worth value={pile.value} />
        </span>
      )}
      {hop.state === 'unknown' && <span className={classes.pile}>{t('unheard')}</span>}
    </button>
  );
}
