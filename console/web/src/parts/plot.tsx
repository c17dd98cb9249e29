// uPlot, loaded when a screen shows a chart; the same figures are a table for who cannot
// see it.
import { useMantineColorScheme, useComputedColorScheme } from '@mantine/core';
import { useEffect, useRef } from 'react';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { useWords } from '../words/words';
import classes from './parts.module.css';
import type { ChartProps } from './chart';
import { clockText } from './time';

export default function Chart({ times, series, height = 180, label, unit = '' }: ChartProps) {
  const box = useRef<HTMLDivElement>(null);
  const t = useWords();
  const { colorScheme } = useMantineColorScheme();
  const dark = useComputedColorScheme('light') === 'dark';
  const names = series.map((s) => s.name).join('\u0000');
  const plot = useRef<uPlot | null>(null);
  const data = [times, ...series.map((s) => s.values)] as uPlot.AlignedData;
  const newest = useRef(data);
  newest.current = data;

  useEffect(() => {
    const el = box.current;
    if (!el) return;
    const style = getComputedStyle(el);
    const ink = style.getPropertyValue('--mantine-color-dimmed').trim() || '#667';
    const line = dark ? '#2c3335' : '#e6eaea';
    const tones = ['--mantine-color-accent-filled', '--mantine-color-orange-filled', '--mantine-color-indigo-filled', '--mantine-color-grape-filled'];
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: '11px system-ui' };
    const u = new uPlot(
      {
        width: el.clientWidth || 300,
        height,
        legend: { live: false, show: series.length > 1 },
        cursor: { points: { size: 6 } },
        scales: { x: { time: true } },
        series: [{}, ...series.map((s, i) => ({ label: s.name, stroke: s.color ?? style.getPropertyValue(tones[i % tones.length] ?? '').trim() ?? ink, width: 1.6, dash: i > 1 ? [6, 4] : undefined, points: { show: false } }))],
        axes: [axis, { ...axis, size: 56, values: (_u: uPlot, v: number[]) => v.map((x) => `${x}${unit}`) }],
      },
      newest.current,
      el,
    );
    plot.current = u;
    const watch = new ResizeObserver(() => u.setSize({ width: el.clientWidth, height }));
    watch.observe(el);
    return () => {
      watch.disconnect();
      u.destroy();
      plot.current = null;
    };
    // Drawn anew for another look or other series; new figures only move the lines.
  }, [names, height, unit, dark, colorScheme]); // eslint-disable-line

  useEffect(() => {
    plot.current?.setData(newest.current);
  }, [times, series]);

  const step = Math.max(1, Math.ceil(times.length / 30));
  return (
    <figure className={classes.chart}>
      <div ref={box} role="img" aria-label={label} />
      <details className={classes.chartTable}>
        <summary>{t('chart_table')}</summary>
        <div className={classes.scroll} tabIndex={0} role="region" aria-label={label}>
          <table className={classes.table}>
            <thead>
              <tr>
                <th scope="col">{t('time')}</th>
                {series.map((s) => (
                  <th key={s.name} scope="col">{s.name}</th>
                ))}
              </tr>
            </thead>
            <tbody>
              {times.map((at, i) =>
                i % step === 0 ? (
                  <tr key={at}>
                    <td>{clockText(at * 1000, t.lang)}</td>
                    {series.map((s) => (
                      <td key={s.name}>{s.values[i] ?? '—'}{s.values[i] == null ? '' : unit}</td>
                    ))}
                  </tr>
                ) : null,
              )}
            </tbody>
          </table>
        </div>
      </details>
    </figure>
  );
}
