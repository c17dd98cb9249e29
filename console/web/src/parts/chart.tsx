import { lazy, Suspense } from 'react';
import { Loading } from './states';

export type ChartProps = {
  /** Seconds since 1970, rising. */
  times: number[];
  /** Figures of the same length; null where there is none. */
  series: { name: string; values: (number | null)[]; color?: string }[];
  height?: number;
  /** What it shows, in a sentence: who cannot see it hears this. */
  label: string;
  /** Behind each figure of the axis. */
  unit?: string;
};

const Plot = lazy(() => import('./plot'));

/** Chart draws series over time. */
export function Chart(p: ChartProps) {
  return (
    <Suspense fallback={<Loading rows={3} />}>
      <Plot {...p} />
    </Suspense>
  );
}
