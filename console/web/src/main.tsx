import '@mantine/core/styles.layer.css';
import './shell/base.css';
import { MantineProvider } from '@mantine/core';
import { QueryClient, QueryClientProvider } from '@tanstack/react-query';
import { StrictMode, useEffect, useMemo, useState, type ReactNode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './shell/App';
import { theme, variables } from './shell/theme';
import { chooseLang, LangContext, type Lang } from './words/words';

const client = new QueryClient({
  defaultOptions: { queries: { staleTime: 2_000, gcTime: 10 * 60_000, refetchOnWindowFocus: true, networkMode: 'always' }, mutations: { networkMode: 'always' } },
});

function Language({ children }: { children: ReactNode }) {
  const [lang, setLang] = useState<Lang>(chooseLang);
  useEffect(() => {
    document.documentElement.lang = lang === 'zh' ? 'zh-CN' : 'en';
    localStorage.setItem('moneta-lang', lang);
  }, [lang]);
  const value = useMemo(() => ({ lang, setLang }), [lang]);
  return <LangContext.Provider value={value}>{children}</LangContext.Provider>;
}

const at = document.getElementById('root');
if (at) {
  createRoot(at).render(
    <StrictMode>
      <MantineProvider theme={theme} cssVariablesResolver={variables} defaultColorScheme="auto">
        <QueryClientProvider client={client}>
          <Language>
            <App />
          </Language>
        </QueryClientProvider>
      </MantineProvider>
    </StrictMode>,
  );
}
