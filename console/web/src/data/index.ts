export * from './client';
export * from './doctor';
export * from './hooks';
export * from './money';
export * from './session';
export * from './stream';
export * from './url';
