import { Code, Group, Stack, Text } from '@mantine/core';
import { CopyButton } from '../../parts';
import { useWords } from '../../words/words';
import words from './words.json';

/** Once is a secret that is shown this once. It lives in the page only. */
export function Once({ secret, children }: { secret: string; children: string }) {
  const t = useWords(words);
  return (
    <Stack gap={4} role="status">
      <Text fw={600}>{children}</Text>
      <Group gap={4} wrap="nowrap">
        <Code data-secret style={{ overflowWrap: 'anywhere' }}>{secret}</Code>
        <CopyButton text={secret} />
      </Group>
      <Text size="sm" c="dimmed">{t('once')}</Text>
    </Stack>
  );
}
