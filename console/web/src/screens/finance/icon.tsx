import type { SVGProps } from 'react';

/** IconFinance is a pair of scales, in the manner of parts/icons.tsx. */
export function IconFinance(p: SVGProps<SVGSVGElement>) {
  return (
    <svg width={18} height={18} viewBox="0 0 20 20" fill="none" stroke="currentColor" strokeWidth={1.6} strokeLinecap="round" strokeLinejoin="round" aria-hidden focusable="false" {...p}>
      <path d="M10 3v14M6 17h8M4 6h12" />
      <path d="M4 6l-2 5h4zM16 6l-2 5h4z" />
    </svg>
  );
}
