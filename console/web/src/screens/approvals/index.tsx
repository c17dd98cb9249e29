import { lazy } from 'react';
import { IconApprove } from '../../parts/icons';
import type { Screen } from '../../parts/screen';

export const screen: Screen = {
  path: '/approvals',
  title: { en: 'Approvals', zh: '审批' },
  group: 'people',
  order: 10,
  icon: IconApprove,
  component: lazy(() => import('./Approvals')),
  opens: [{ id: /^apr_[0-9A-Za-z]+$/, to: (id) => `/approvals?id=${id}` }],
};
