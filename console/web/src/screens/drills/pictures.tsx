// A small picture for each kind of fault: the same road, hurt in another place.
import type { ReactNode } from 'react';

const ink = 'light-dark(#7c8887, #8a9695)';
const hurt = 'light-dark(#b3261e, #f29389)';
const calm = 'light-dark(#0a6f73, #52acae)';

const road = <path d="M6 40h148" stroke={ink} strokeWidth={1.5} />;
const stop = (x: number) => <circle cx={x} cy={40} r={6} fill="light-dark(#fff, #1b2022)" stroke={ink} strokeWidth={1.5} />;
const cross = (x: number, y: number) => <path d={`M${x - 5} ${y - 5}l10 10M${x + 5} ${y - 5}l-10 10`} stroke={hurt} strokeWidth={2.4} strokeLinecap="round" />;

const pictures: Record<string, ReactNode> = {
  // A database whose rows nobody else gets.
  DB: <>{road}{stop(24)}<path d="M62 24c0-5 36-5 36 0v32c0 5-36 5-36 0z" fill="light-dark(#fff, #1b2022)" stroke={ink} strokeWidth={1.5} /><path d="M62 24c0 5 36 5 36 0" fill="none" stroke={ink} strokeWidth={1.5} /><path d="M73 42v-4a7 7 0 0 1 14 0v4" fill="none" stroke={hurt} strokeWidth={2} /><rect x={70} y={42} width={20} height={13} rx={2} fill={hurt} />{stop(136)}</>,
  // A bank whose answers are lost.
  TP: <>{road}{stop(24)}{stop(64)}<path d="M118 34h32L134 22zM121 34v18M134 34v18M147 34v18M116 54h36" stroke={ink} strokeWidth={1.5} fill="none" strokeLinejoin="round" />{cross(94, 40)}</>,
  // A service that stands still.
  SV: <>{road}{stop(24)}<rect x={60} y={22} width={40} height={36} rx={4} fill="light-dark(#fff, #1b2022)" stroke={ink} strokeWidth={1.5} /><path d="M68 44l6-10 6 14 5-8h7" fill="none" stroke={hurt} strokeWidth={2} strokeLinecap="round" strokeLinejoin="round" />{stop(136)}</>,
  // Messages that come late, or never.
  AS: <>{road}{stop(24)}<path d="M62 26h36v26H62zM62 26l18 14 18-14" fill="light-dark(#fff, #1b2022)" stroke={ink} strokeWidth={1.5} strokeLinejoin="round" /><circle cx={102} cy={24} r={9} fill="light-dark(#fff, #1b2022)" stroke={hurt} strokeWidth={2} /><path d="M102 19v5l4 2" stroke={hurt} strokeWidth={2} fill="none" strokeLinecap="round" />{stop(136)}</>,
  // A queue that does not move.
  MQ: <>{road}{[52, 66, 80, 94].map((x) => <rect key={x} x={x - 5} y={30} width={10} height={20} rx={2} fill={x === 94 ? hurt : 'light-dark(#fff, #1b2022)'} stroke={x === 94 ? hurt : ink} strokeWidth={1.5} />)}{stop(24)}{stop(136)}<path d="M108 28v24" stroke={hurt} strokeWidth={2.4} strokeLinecap="round" /></>,
  // A wire that loses.
  NW: <><path d="M6 40h58M96 40h58" stroke={ink} strokeWidth={1.5} /><path d="M64 40l6-7 5 14 6-14 5 14 6-7" stroke={hurt} strokeWidth={2} fill="none" strokeLinejoin="round" strokeLinecap="round" />{stop(24)}{stop(136)}</>,
  // People who ask again and again.
  CL: <>{road}{[20, 34, 48].map((x) => <g key={x}><circle cx={x} cy={28} r={5} fill={hurt} /><path d={`M${x - 7} 46c1-8 13-8 14 0`} fill={hurt} /></g>)}<path d="M62 34l8 6-8 6M74 34l8 6-8 6M86 34l8 6-8 6" stroke={hurt} strokeWidth={2} fill="none" strokeLinecap="round" strokeLinejoin="round" />{stop(136)}</>,
  // Nothing is wrong: whoever pages is wrong.
  control: <>{road}{stop(24)}{stop(136)}<circle cx={80} cy={40} r={17} fill="light-dark(#fff, #1b2022)" stroke={calm} strokeWidth={2} /><path d="M72 40l6 6 11-13" stroke={calm} strokeWidth={2.4} fill="none" strokeLinecap="round" strokeLinejoin="round" /></>,
};

/** Picture is that of a class of faults. */
export function Picture({ of, label }: { of: string; label: string }) {
  return (
    <svg role="img" aria-label={label} viewBox="0 0 160 78" width="100%" style={{ display: 'block', maxHeight: 92 }}>
      {pictures[of] ?? pictures.SV}
    </svg>
  );
}
