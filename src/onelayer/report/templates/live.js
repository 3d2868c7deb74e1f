"use strict";
/* Follows a training in the explorable page: the latest facts come as server-sent events, and a
   button ends it. */
(() => {
  const MOST = 8, AGAIN = 2000; // settings in the charts; milliseconds
  const $ = (id) => document.getElementById(id);
  const { facts, update, renew } = window.onelayer;
  const say = (text) => { $("connection").textContent = text; };

  function take({ status, facts: news, over }) {
    $("status").textContent = status;
    renew(news);
    if (over) $("stop").disabled = true;
    return over;
  }

  function listen() {
    const source = new EventSource(`/events${location.search}`);
    source.onopen = () => say("");
    source.onmessage = ({ data }) => { if (take(JSON.parse(data))) source.close(); };
    source.onerror = () => {
      say("The training cannot be reached; trying again.");
      // A browser tries again by itself, but not after an answer that it takes for the last one.
      if (source.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN);
    };
  }

  async function stop() {
    if (!window.confirm("Stop the training? It ends as with Ctrl-C.")) return;
    const answer = await fetch(`/stop${location.search}`, { method: "POST" }).catch(() => null);
    say(answer?.ok ? "Stopping." : "The training cannot be reached.");
  }

  $("stop").addEventListener("click", stop);
  update({ compared: facts.settings.map((_, model) => model).slice(1, MOST) });
  listen();
})();
