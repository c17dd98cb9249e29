import { Text } from '@mantine/core';
import { useLook } from '../../data';
import { Money, Panel, Shown, useSpan } from '../../parts';
import { useWords } from '../../words/words';
import classes from './room.module.css';
import type { Impact } from './types';
import words from './words.json';

/** ImpactPanel is whom it hurts now, on four axes; only what the facts tell. */
export function ImpactPanel() {
  const t = useWords(words);
  const span = useSpan();
  const impact = useLook<Impact>('/impact', { every: 5000, keep: true });
  return (
    <Panel title={t('impact')}>
      <Shown of={impact} rows={4}>
        {(i) => (
          <div className={classes.axes}>
            <section className={classes.axis}>
              <h3>{t('axis_users')}</h3>
              <div className={classes.big}>{i.holders}</div>
              <ul>
                <li>{t('imp_payments', { n: i.payments })}</li>
                <li>{t('imp_overdue', { n: i.overdue })}</li>
                {i.oldest_s > 0 && <li>{t('oldest', { time: span('for', i.oldest_s) })}</li>}
              </ul>
            </section>
            <section className={classes.axis}>
              <h3>{t('axis_value')}</h3>
              <ul>
                {Object.entries(i.open).slice(0, 4).map(([a, v]) => <li key={a}><Money amount={v} asset={a} strong /> {t('imp_open')}</li>)}
                {Object.entries(i.unknown).slice(0, 4).map(([a, v]) => <li key={`u${a}`}><Money amount={v} asset={a} /> {t('imp_unknown')}</li>)}
                {Object.keys(i.open).length === 0 && <li>{t('nothing')}</li>}
              </ul>
            </section>
            <section className={classes.axis}>
              <h3>{t('axis_partners')}</h3>
              <ul>
                <li>{t('imp_tenants', { n: i.tenants })}</li>
                <li>{i.channels.length === 0 ? t('imp_no_channels') : t('imp_channels', { all: i.channels.slice(0, 5).join(', ') })}</li>
                <li>{t('imp_callbacks', { n: i.callbacks })}</li>
                <li>{t('imp_endpoints', { n: i.endpoints })}</li>
              </ul>
            </section>
            <section className={classes.axis}>
              <h3>{t('axis_clarity')}</h3>
              <ul>
                <li>{t('imp_unsent', { n: i.unsent })}</li>
                <li>{t('imp_releases', { n: i.releases })}</li>
                <li>{t('imp_behind', { n: i.behind })}</li>
                <li>{t('imp_gaps', { n: i.journal.lost + i.quarantine })}</li>
              </ul>
            </section>
            {i.cut && <Text size="xs" c="dimmed">{t('imp_cut')}</Text>}
          </div>
        )}
      </Shown>
    </Panel>
  );
}
