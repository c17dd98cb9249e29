import { lazy } from 'react';
import { IconIncident } from '../../parts/icons';
import type { Screen } from '../../parts/screen';

export const screens: Screen[] = [
  {
    path: '/incidents',
    title: { en: 'Incidents', zh: '事故' },
    group: 'now',
    order: 40,
    icon: IconIncident,
    component: lazy(() => import('./List')),
  },
  {
    path: '/incidents/$id',
    title: { en: 'Incident room', zh: '事故作战室' },
    component: lazy(() => import('./Room')),
    opens: [{ id: /^inc[-_]/, to: (id) => `/incidents/${id}` }],
  },
];
