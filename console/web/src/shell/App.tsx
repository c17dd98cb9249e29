import { createRootRoute, createRoute, createRouter, Navigate, Outlet, RouterProvider, useNavigate, useRouterState } from '@tanstack/react-router';
import { Suspense, useEffect } from 'react';
import { useSession } from '../data';
import { Empty, Fence, firstPath, Go, Loading, Problem, screens } from '../parts';
import { useLang, useWords } from '../words/words';
import { Shell } from './Shell';
import { SignIn } from './SignIn';

function matches(path: string): boolean {
  return screens.some((s) => s.open && new RegExp(`^${s.path.replace(/\$\w+/g, '[^/]+')}/?$`).test(path));
}

function Root() {
  const path = useRouterState({ select: (s) => s.location.pathname });
  const { session, error, refetch } = useSession();
  const navigate = useNavigate();
  if (matches(path)) {
    return (
      <main id="content">
        <Fence key={path}>
          <Suspense fallback={<Loading />}>
            <Outlet />
          </Suspense>
        </Fence>
      </main>
    );
  }
  if (!session) {
    return <main style={{ maxWidth: 560, margin: '12vh auto', padding: 16 }}>{error ? <Problem of={error} again={() => void refetch()} /> : <Loading />}</main>;
  }
  if (!session.signed_in) {
    return <SignIn after={() => path === '/signin' && void navigate({ to: '/', replace: true } as never)} />;
  }
  return <Shell session={session} />;
}

function Nowhere() {
  const t = useWords();
  return (
    <Empty title={t('nowhere')} action={<Go to={firstPath()}>{t('home')}</Go>}>
      {t('nowhere_do')}
    </Empty>
  );
}

function Page({ index }: { index: number }) {
  const screen = screens[index];
  const { lang } = useLang();
  const title = screen?.title[lang];
  useEffect(() => {
    document.title = title ? `${title} · Moneta` : 'Moneta';
  }, [title]);
  if (!screen) return null;
  const Screen = screen.component;
  return <Screen />;
}

const root = createRootRoute({ component: Root, notFoundComponent: Nowhere });
const routes = screens.map((s, index) => createRoute({ getParentRoute: () => root, path: s.path, component: () => <Page index={index} /> }));
const home = firstPath();
const extra = ['/signin', ...(screens.some((s) => s.path === '/') ? [] : ['/'])].map((path) =>
  createRoute({ getParentRoute: () => root, path, component: () => <Navigate to={home as never} replace /> }),
);

const router = createRouter({
  routeTree: root.addChildren([...routes, ...extra]),
  parseSearch: (text) => Object.fromEntries(new URLSearchParams(text)),
  stringifySearch: (of) => {
    const q = new URLSearchParams(Object.entries(of).flatMap(([k, v]) => (v === undefined || v === '' ? [] : [[k, String(v)]]))).toString();
    return q === '' ? '' : `?${q}`;
  },
  scrollRestoration: true,
  defaultPreload: 'intent',
});

export function App() {
  return <RouterProvider router={router} />;
}
