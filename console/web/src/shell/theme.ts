import { createTheme, type CSSVariablesResolver } from '@mantine/core';

// Quiet: one accent, a deep teal; red only where money or people are hurt, amber for what
// waits.
export const theme = createTheme({
  primaryColor: 'accent',
  primaryShade: 8,
  autoContrast: true,
  defaultRadius: 'md',
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif',
  fontFamilyMonospace: 'ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace',
  fontSizes: { xs: '0.8125rem', sm: '0.875rem', md: '0.875rem', lg: '1rem', xl: '1.2rem' },
  colors: {
    accent: ['#e9f5f5', '#d3eaea', '#a8d4d5', '#79bec0', '#52acae', '#3aa1a4', '#2a9b9e', '#1b878a', '#0a6f73', '#005a5e'],
  },
});

export const variables: CSSVariablesResolver = () => ({
  variables: {},
  light: { '--mantine-color-body': '#fafbfb', '--mantine-color-dimmed': '#55605f', '--mantine-color-text': '#1d2525' },
  dark: { '--mantine-color-body': '#141819', '--mantine-color-dimmed': '#9aa7a7', '--mantine-color-text': '#dde4e4' },
});
