import { lazy } from 'react';
import { IconChannel } from '../../parts/icons';
import type { Screen } from '../../parts/screen';

export const screen: Screen = {
  path: '/channels',
  title: { en: 'Channels', zh: '渠道' },
  group: 'now',
  order: 60,
  icon: IconChannel,
  component: lazy(() => import('./Channels')),
};
