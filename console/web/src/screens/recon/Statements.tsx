import { Button, Group, Progress as Bar, Select, Stack, Text, TextInput } from '@mantine/core';
import { useQueryClient } from '@tanstack/react-query';
import { useRef, useState, type DragEvent } from 'react';
import { amountText, may, Problem as ProblemError, usePay, useSession } from '../../data';
import { Ago, Empty, Panel, Problem, Shown, State, Twin, Wide } from '../../parts';
import { useWords } from '../../words/words';
import type { Imported, List } from './model';
import classes from './recon.module.css';
import words from './words.json';

/** Statements takes a file and shows which were taken and how far they are judged. */
export function Statements({ channels }: { channels: string[] }) {
  const t = useWords(words);
  const taken = usePay<List<Imported>>('/v1/recon/statements?limit=20', { every: 5_000, keep: true });
  return (
    <Panel title={t('statements')} right={<Twin cmd="moneta recon import --channel bank-ab statement.xml" />}>
      <Stack gap="md">
        <Upload channels={channels} />
        <Shown of={taken} rows={3}>
          {(l) =>
            l.data.length === 0 ? (
              <Empty title={t('no_statements')}>{t('no_statements_why')}</Empty>
            ) : (
              <Wide label={t('statements')} least={720}>
                <table className={classes.table}>
                  <thead>
                    <tr>
                      <th scope="col">{t('statement')}</th>
                      <th scope="col">{t('channel')}</th>
                      <th scope="col">{t('day')}</th>
                      <th scope="col" className={classes.num}>{t('net')}</th>
                      <th scope="col">{t('judged')}</th>
                      <th scope="col">{t('imported')}</th>
                    </tr>
                  </thead>
                  <tbody>
                    {l.data.map((s) => (
                      <tr key={s.id}>
                        <td>{s.statement_id}{s.accepted && <Text size="sm" c="dimmed">{t('accepted', { why: s.accepted })}</Text>}</td>
                        <td>{s.channel}</td>
                        <td>{s.day}</td>
                        <td className={classes.num}>{amountText(s.net, s.asset)}</td>
                        <td>
                          <State tone={s.applied >= s.lines ? 'good' : 'wait'}>{t('progress_of', { done: s.applied, total: s.lines })}</State>
                        </td>
                        <td><Ago at={s.imported_at} /> · {s.imported_by}</td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </Wide>
            )
          }
        </Shown>
      </Stack>
    </Panel>
  );
}

type Sending = { name: string; sent: number; of: number };

function Upload({ channels }: { channels: string[] }) {
  const t = useWords(words);
  const { session } = useSession();
  const client = useQueryClient();
  const pick = useRef<HTMLInputElement>(null);
  const [channel, setChannel] = useState<string | null>(null);
  const [file, setFile] = useState<File | null>(null);
  const [why, setWhy] = useState('');
  const [over, setOver] = useState(false);
  const [sending, setSending] = useState<Sending | null>(null);
  const [problem, setProblem] = useState<ProblemError | null>(null);
  const [done, setDone] = useState<Imported[] | null>(null);
  if (!may(session, 'operator') || session?.local) return <Text size="sm" c="dimmed">{t('upload_who')}</Text>;

  const send = (f: File) => {
    if (!channel) return;
    setProblem(null);
    setDone(null);
    const path = `/api/pay/v1/recon/statements?channel=${encodeURIComponent(channel)}${why ? `&accept_unbalanced=${encodeURIComponent(why)}` : ''}`;
    // fetch does not tell how much of a body has left.
    const x = new XMLHttpRequest();
    x.open('POST', path);
    x.setRequestHeader('Moneta-Csrf', session?.csrf ?? '');
    x.setRequestHeader('Content-Type', 'application/octet-stream');
    x.timeout = 150_000;
    x.upload.onprogress = (e) => setSending({ name: f.name, sent: e.loaded, of: e.total });
    x.onload = () => {
      setSending(null);
      let said: Record<string, unknown> = {};
      try {
        said = JSON.parse(x.responseText) as Record<string, unknown>;
      } catch {
        said = { detail: x.responseText.slice(0, 500) };
      }
      if (x.status >= 300) return setProblem(new ProblemError(path, x.status, said));
      setDone((said as unknown as List<Imported>).data);
      setFile(null);
      setWhy('');
      void client.invalidateQueries({ predicate: (q) => String(q.queryKey[1]).includes('/v1/recon') });
    };
    x.onerror = x.ontimeout = () => {
      setSending(null);
      setProblem(new ProblemError(path, 0, { code: 'network', money_state: 'not_moved', retry: 'safe_same_key' }));
    };
    setSending({ name: f.name, sent: 0, of: f.size });
    x.send(f);
  };
  const dropped = (e: DragEvent) => {
    e.preventDefault();
    setOver(false);
    const f = e.dataTransfer.files[0];
    if (f) setFile(f);
  };
  const refused = problem?.code === 'statement-refused';
  return (
    <Stack gap="sm">
      <div className={`${classes.drop} ${over ? classes.dropOver : ''}`} onDragOver={(e) => { e.preventDefault(); setOver(true); }} onDragLeave={() => setOver(false)} onDrop={dropped} data-testid="drop">
        <Text fw={600}>{file ? file.name : t('drop')}</Text>
        <Text size="sm" c="dimmed" mb="xs">{t('drop_why')}</Text>
        <input ref={pick} type="file" hidden aria-label={t('drop')} onChange={(e) => setFile(e.currentTarget.files?.[0] ?? null)} />
        <Button size="compact-sm" variant="default" onClick={() => pick.current?.click()}>{t('choose')}</Button>
      </div>
      <Group gap="sm" align="end">
        <Select size="xs" label={t('whose')} data={channels} value={channel} onChange={setChannel} searchable />
        {refused && <TextInput size="xs" label={t('anyway')} description={t('anyway_why')} value={why} onChange={(e) => setWhy(e.currentTarget.value)} w={320} />}
        <Button size="xs" disabled={!file || !channel || sending !== null} onClick={() => file && send(file)}>{t('import')}</Button>
      </Group>
      {sending && <Bar value={sending.of ? (100 * sending.sent) / sending.of : 0} aria-label={t('sending', { name: sending.name })} />}
      {problem && <Problem of={problem} />}
      {done?.map((d) => (
        <Text key={d.id} size="sm" role="status">{t(d.replayed ? 'taken_again' : 'taken', { id: d.statement_id, n: d.lines, day: d.day })}</Text>
      ))}
    </Stack>
  );
}
