import { Button, Code, Popover, SegmentedControl, Stack } from '@mantine/core';
import { useState } from 'react';
import { useWords } from '../words/words';
import { IconCode } from './icons';
import classes from './parts.module.css';
import { CopyButton } from './small';

export type Call = { method?: string; path: string; body?: unknown; key?: string };

/** codeOf writes one call of the API for a shell, Go or TypeScript. */
export function codeOf(c: Call, as: 'curl' | 'go' | 'ts'): string {
  const method = c.method ?? 'GET';
  const body = c.body === undefined ? undefined : JSON.stringify(c.body);
  const shell = (s: string) => `'${s.replace(/'/g, `'\\''`)}'`;
  if (as === 'curl') {
    const lines = [`curl -sS ${method === 'GET' ? '' : `-X ${method} `}"$MONETA_URL"${shell(c.path)}`, `-H "Authorization: Bearer $MONETA_KEY"`];
    if (c.key) lines.push(`-H ${shell(`Idempotency-Key: ${c.key}`)}`);
    if (body) lines.push(`-H 'Content-Type: application/json'`, `-d ${shell(body)}`);
    return lines.join(' \\\n  ');
  }
  if (as === 'go') {
    return [
      body ? `body := strings.NewReader(${JSON.stringify(body)})` : '',
      `req, err := http.NewRequestWithContext(ctx, ${JSON.stringify(method)}, os.Getenv("MONETA_URL")+${JSON.stringify(c.path)}, ${body ? 'body' : 'nil'})`,
      'if err != nil {\n\treturn err\n}',
      'req.Header.Set("Authorization", "Bearer "+os.Getenv("MONETA_KEY"))',
      c.key ? `req.Header.Set("Idempotency-Key", ${JSON.stringify(c.key)})` : '',
      body ? 'req.Header.Set("Content-Type", "application/json")' : '',
      'res, err := http.DefaultClient.Do(req)',
    ]
      .filter(Boolean)
      .join('\n');
  }
  const headers = [
    '    Authorization: `Bearer ${process.env.MONETA_KEY}`,',
    c.key ? `    'Idempotency-Key': ${JSON.stringify(c.key)},` : '',
    body ? "    'Content-Type': 'application/json'," : '',
  ].filter(Boolean);
  return [
    `const res = await fetch(process.env.MONETA_URL + ${JSON.stringify(c.path)}, {`,
    method === 'GET' ? '' : `  method: ${JSON.stringify(method)},`,
    `  headers: {\n${headers.join('\n')}\n  },`,
    body ? `  body: JSON.stringify(${JSON.stringify(c.body)}),` : '',
    '});',
    'const answer = await res.json();',
  ]
    .filter(Boolean)
    .join('\n');
}

/** AsCurl offers a call of the API as code to copy. Path is that of the API, /v1/… */
export function AsCurl({ call }: { call: Call }) {
  const t = useWords();
  const [as, setAs] = useState<'curl' | 'go' | 'ts'>('curl');
  const text = codeOf(call, as);
  return (
    <Popover width={460} position="bottom-end" shadow="md" trapFocus returnFocus withinPortal>
      <Popover.Target>
        <Button size="compact-sm" variant="default" leftSection={<IconCode width={14} height={14} />}>
          {t('as_code')}
        </Button>
      </Popover.Target>
      <Popover.Dropdown className={classes.pop}>
        <Stack gap="xs">
          <SegmentedControl
            size="xs"
            value={as}
            onChange={(v) => setAs(v as typeof as)}
            data={[
              { value: 'curl', label: 'curl' },
              { value: 'go', label: 'Go' },
              { value: 'ts', label: 'TypeScript' },
            ]}
          />
          <div className={classes.block}>
            <Code block tabIndex={0} aria-label={t('as_code')}>
              {text}
            </Code>
            <span className={classes.blockCopy}>
              <CopyButton text={text} />
            </span>
          </div>
        </Stack>
      </Popover.Dropdown>
    </Popover>
  );
}
