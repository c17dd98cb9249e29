// What the console says, in English and Chinese. A screen keeps its words beside itself
// in words.json, so that they come with its chunk; common.json has those of all. The
// compiler refuses a key without both languages and a used key that does not exist.
import { createContext, useCallback, useContext } from 'react';
import common from './common.json';

export type Lang = 'en' | 'zh';
export type Entry = { en: string; zh: string };
export type Words = Record<string, Entry>;
export type Params = Record<string, string | number>;
export type CommonKey = keyof typeof common;

export const LangContext = createContext<{ lang: Lang; setLang: (to: Lang) => void }>({ lang: 'en', setLang: () => {} });

export function useLang() {
  return useContext(LangContext);
}

/** fill puts {name} of params into a text. */
export function fill(text: string, params?: Params): string {
  return params ? text.replace(/\{(\w+)\}/g, (whole, name: string) => (name in params ? String(params[name]) : whole)) : text;
}

export type Say<K extends string> = ((key: K | CommonKey, params?: Params) => string) & {
  /** For keys that come from the server: undefined when there is no such word. */
  maybe: (key: string, params?: Params) => string | undefined;
  lang: Lang;
};

const none: Words = {};

/** useWords says the words of a screen and those of all. */
export function useWords<W extends Words>(words?: W): Say<Extract<keyof W, string>> {
  const { lang } = useLang();
  const own: Words = words ?? none;
  const maybe = useCallback(
    (key: string, params?: Params) => {
      const entry = own[key] ?? (common as Words)[key];
      return entry ? fill(entry[lang], params) : undefined;
    },
    [lang, own],
  );
  const say = useCallback((key: string, params?: Params) => maybe(key, params) ?? key, [maybe]);
  return Object.assign((key: string, params?: Params) => say(key, params), { maybe, lang });
}

/** chooseLang: ?lang= in the address, then what was chosen before, then the browser's. */
export function chooseLang(): Lang {
  const asked = new URLSearchParams(location.search).get('lang') ?? localStorage.getItem('moneta-lang');
  if (asked === 'en' || asked === 'zh') return asked;
  return navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en';
}
