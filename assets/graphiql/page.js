// The page around GraphiQL. Token, purpose, case, approval and the reason of an emergency live in the fields alone:
// nothing is kept in the browser, because queries may hold ids. `/graphiql#token=…&purpose=…&case=…&approval=…
// &emergency=…&from=…&query=…&variables=…` fills them and the editors; a fragment never reaches the server, and it is taken off the address at once.
(function () {
  'use strict';
  var fields = ['token', 'purpose', 'case', 'approval', 'emergency', 'from'];
  var field = function (name) { return document.getElementById(name); };
  var given = new URLSearchParams(location.hash.slice(1));
  fields.forEach(function (name) { if (given.get(name)) field(name).value = given.get(name); });
  if (location.hash) history.replaceState(null, '', location.pathname);

  var kept = new Map();
  var storage = {
    getItem: function (key) { return kept.has(key) ? kept.get(key) : null; },
    setItem: function (key, value) { kept.set(key, String(value)); },
    removeItem: function (key) { kept.delete(key); },
    clear: function () { kept.clear(); },
    get length() { return kept.size; }
  };

  function isSubscription(params, options) {
    var definitions = options && options.documentAST ? options.documentAST.definitions : [];
    return definitions.some(function (definition) {
      var isChosen = !params.operationName || (definition.name && definition.name.value === params.operationName);
      return isChosen && definition.kind === 'OperationDefinition' && definition.operation === 'subscription';
    });
  }

  // Server-sent events: each `next` holds a response, which takes the place of the one before; `complete` is the end.
  function streamed(send) {
    var subscribe = function (observer) {
      var stop = new AbortController();
      var told = function (event) {
        var lines = event.split('\n');
        if (lines.indexOf('event: complete') >= 0) return true;
        var data = lines.filter(function (line) { return line.indexOf('data: ') === 0; });
        if (data.length) observer.next(JSON.parse(data.map(function (line) { return line.slice(6); }).join('\n')));
        return false;
      };
      var read = function (reader, rest) {
        return reader.read().then(function (chunk) {
          if (chunk.done) throw new Error('The stream broke off.');
          var events = (rest + chunk.value).split('\n\n');
          var left = events.pop();
          if (events.some(told)) return observer.complete();
          return read(reader, left);
        });
      };
      send('text/event-stream', stop.signal)
        .then(function (response) {
          if (/^text\/event-stream/.test(response.headers.get('content-type'))) {
            return read(response.body.pipeThrough(new TextDecoderStream()).getReader(), '');
          }
          return response.json().then(function (refusal) { observer.next(refusal); observer.complete(); });
        })
        .catch(function (error) { if (!stop.signal.aborted) observer.error(error); });
      return { unsubscribe: function () { stop.abort(); } };
    };
    return { subscribe: subscribe };
  }

  function fetcher(params, options) {
    var headers = Object.assign({ 'Content-Type': 'application/json' }, options && options.headers);
    var body = { query: params.query, operationName: params.operationName, variables: params.variables, extensions: {} };
    var token = field('token').value.trim();
    if (token) headers.Authorization = 'Bearer ' + token.replace(/^Bearer\s+/i, '');
    if (field('from').value.trim()) headers['X-Forwarded-For'] = field('from').value.trim();
    if (field('purpose').value.trim()) body.extensions.purpose = field('purpose').value.trim();
    if (field('case').value.trim()) body.extensions.case = field('case').value.trim();
    if (field('approval').value.trim()) body.extensions.approval = field('approval').value.trim();
    if (field('emergency').value.trim()) body.extensions.breakGlass = field('emergency').value.trim();
    var send = function (accept, signal) {
      var all = Object.assign({ Accept: accept }, headers);
      return fetch('graphql', { method: 'POST', headers: all, body: JSON.stringify(body), credentials: 'omit', signal: signal });
    };
    if (isSubscription(params, options)) return streamed(send);
    return send('application/graphql-response+json, application/json').then(function (response) { return response.json(); });
  }

  var root = ReactDOM.createRoot(document.getElementById('graphiql'));
  var render = function (key) {
    root.render(React.createElement(GraphiQL, {
      key: key, fetcher: fetcher, storage: storage, shouldPersistHeaders: false,
      defaultQuery: given.get('query') || '# Ctrl-Space offers what this token may see; Ctrl-Enter asks.\n',
      variables: given.get('variables') || undefined
    }));
  };
  // Another token sees another schema: read it anew, and keep what was typed.
  field('token').addEventListener('change', function () { render('token-' + Date.now()); });
  render('first');
})();
