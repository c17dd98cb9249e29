export * from './client';
export * from './doctor';
export * from './hooks';
export * from './money';
export * from './range';
export * from './session';
export * from './stream';
export * from './url';
