export const looks = [
  { name: 'incidents', path: '/incidents', ready: ({ page }) => page.getByText(/stay in sight|重点指标/).first().waitFor() },
  { name: 'no-incident', path: '/incidents/inc-20000101-000000', ready: ({ page }) => page.getByText(/no incident|没有事故/).first().waitFor() },
];
