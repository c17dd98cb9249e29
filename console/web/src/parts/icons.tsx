// Icons of our own, 20 units square, drawn with the current colour. They stand beside
// words and say nothing by themselves, so that readers of the page aloud skip them.
import type { ReactNode, SVGProps } from 'react';

function icon(paths: ReactNode) {
  return function Icon(p: SVGProps<SVGSVGElement>) {
    return (
      <svg width={18} height={18} viewBox="0 0 20 20" fill="none" stroke="currentColor" strokeWidth={1.6} strokeLinecap="round" strokeLinejoin="round" aria-hidden focusable="false" {...p}>
        {paths}
      </svg>
    );
  };
}

export const IconRiver = icon(<><path d="M2 6c4 0 4 3 8 3s4-3 8-3" /><path d="M2 11c4 0 4 3 8 3s4-3 8-3" /></>);
export const IconPayment = icon(<><path d="M3 7h11l-3-3" /><path d="M17 13H6l3 3" /></>);
export const IconIncident = icon(<><path d="M10 3l7.5 13h-15z" /><path d="M10 8v4" /><path d="M10 14.2v.1" /></>);
export const IconRepair = icon(<><path d="M12.5 3.5a4 4 0 0 0-4.7 5.4L3 13.7 6.3 17l4.8-4.8a4 4 0 0 0 5.4-4.7L13.8 10 11 9l-1-2.8z" /></>);
export const IconBooks = icon(<><path d="M3 4h6v13H3z" /><path d="M9 4h4v13H9" /><path d="M13.5 4.5l3.5 12" /></>);
export const IconLedger = icon(<><path d="M4 3h12v14H4z" /><path d="M7 7h6M7 10h6M7 13h3" /></>);
export const IconChannel = icon(<><path d="M3 17h14" /><path d="M4 8h12L10 3z" /><path d="M5.5 8v7M10 8v7M14.5 8v7" /></>);
export const IconCode = icon(<><path d="M7 6l-4 4 4 4" /><path d="M13 6l4 4-4 4" /></>);
export const IconDrill = icon(<><path d="M4 10a6 6 0 1 1 2 4.5" /><path d="M3 12l1-2 2.5 1" /><path d="M10 7v3l2 2" /></>);
export const IconPeople = icon(<><circle cx="7.5" cy="7" r="3" /><path d="M2.5 16c.5-3 2.5-4 5-4s4.5 1 5 4" /><path d="M13 4.5a3 3 0 0 1 0 5.5M14.5 12.3c1.7.5 2.7 1.7 3 3.7" /></>);
export const IconApprove = icon(<><path d="M4 10.5l4 4 8-9" /></>);
export const IconPulse = icon(<><path d="M2 10h4l2-5 4 10 2-5h4" /></>);
export const IconTimer = icon(<><circle cx="10" cy="11" r="6" /><path d="M10 8v3l2 1.5M8 2.5h4" /></>);
export const IconShield = icon(<><path d="M10 2.5l6 2v5c0 4-2.5 6.5-6 8-3.5-1.5-6-4-6-8v-5z" /><path d="M7.5 9.5l2 2 3-3.5" /></>);
export const IconBell = icon(<><path d="M5 14V9a5 5 0 0 1 10 0v5l1.5 1h-13z" /><path d="M8.5 17h3" /></>);
export const IconCopy = icon(<><path d="M7 7h9v9H7z" /><path d="M13 7V4H4v9h3" /></>);
export const IconCheck = icon(<><path d="M4 10.5l4 4 8-9" /></>);
export const IconTerminal = icon(<><path d="M4 6l4 4-4 4" /><path d="M10 15h6" /></>);
export const IconSearch = icon(<><circle cx="9" cy="9" r="5" /><path d="M13 13l4 4" /></>);
export const IconLink = icon(<><path d="M8 12l4-4" /><path d="M6.5 9.5L4.8 11.2a2.8 2.8 0 0 0 4 4l1.7-1.7" /><path d="M13.5 10.5l1.7-1.7a2.8 2.8 0 0 0-4-4L9.5 6.5" /></>);
export const IconSun = icon(<><circle cx="10" cy="10" r="3.5" /><path d="M10 2.5v1.5M10 16v1.5M2.5 10H4M16 10h1.5M4.7 4.7l1 1M14.3 14.3l1 1M4.7 15.3l1-1M14.3 5.7l1-1" /></>);
export const IconMoon = icon(<><path d="M16 11.5A6.5 6.5 0 0 1 8.5 4a6.5 6.5 0 1 0 7.5 7.5z" /></>);
export const IconOut = icon(<><path d="M8 4H4v12h4" /><path d="M8 10h9l-3-3M17 10l-3 3" /></>);
export const IconQuestion = icon(<><circle cx="10" cy="10" r="7" /><path d="M8 8a2 2 0 1 1 2.5 2c-.5.2-.5.6-.5 1.2M10 13.8v.1" /></>);
export const IconMore = icon(<><path d="M5 10h.1M10 10h.1M15 10h.1" /></>);
export const IconPerson = icon(<><circle cx="10" cy="7" r="3" /><path d="M4.5 16.5c.6-6.5 10.4-6.5 11 0" /></>);
