import { Kbd, Modal, Table } from '@mantine/core';
import { useWords } from '../words/words';

/** Keys is the list of what the keyboard does everywhere. */
export default function Keys({ close }: { close: () => void }) {
  const t = useWords();
  const command = /Mac|iP/.test(navigator.platform) ? '⌘' : 'Ctrl';
  const all: [string[], string][] = [
    [[command, 'K'], t('keys_search')],
    [['/'], t('keys_search')],
    [[command, 'V'], t('keys_paste')],
    [['g'], t('keys_home')],
    [['s'], t('keys_share')],
    [['?'], t('keys_help')],
    [['Esc'], t('keys_escape')],
  ];
  return (
    <Modal opened onClose={close} title={t('keys')} size="sm" closeButtonProps={{ 'aria-label': t('close') }} transitionProps={{ duration: 0 }}>
      <Table>
        <Table.Tbody>
          {all.map(([keys, what]) => (
            <Table.Tr key={keys.join('') + what}>
              <Table.Td w={120}>
                {keys.map((k, i) => (
                  <span key={k}>
                    {i > 0 && ' + '}
                    <Kbd>{k}</Kbd>
                  </span>
                ))}
              </Table.Td>
              <Table.Td>{what}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Modal>
  );
}
