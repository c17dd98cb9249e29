export * from './ascurl';
export * from './chart';
export * from './progress';
export * from './screen';
export * from './small';
export * from './states';
export * from './tick';
export * from './time';
