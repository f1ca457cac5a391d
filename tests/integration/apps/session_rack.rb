#!/usr/bin/ruby
# A Rack application with its sessions in "Redis", as redis-rack is set up by its users. One process serves one
# connection; the listening socket is fd 0.
#
#   session_rack.rb SOCKET     the path of Redis's socket
#
#   /count  /read  /set?value=  /login?who=  /logout
#   /count?hold=MS  that long between reading and writing;  /count?gate=FILE  until there is such a file
require 'json'
require 'rack'
require 'rack/handler/fastcgi'
require 'redis-rack'

def pause(query)
  sleep(query['hold'].to_i / 1000.0)
  return unless (gate = query['gate'])

  File.write("#{gate}.reached", '')
  sleep(0.01) until File.exist?(gate)
end

shop = lambda do |env|
  request = Rack::Request.new(env)
  session, query = request.session, request.params
  case request.path_info
  when '/count'
    n = session['n'] || 0
    pause(query)
    session['n'] = n + 1
  when '/set'
    session['value'] = query['value']
  when '/login'
    session.options[:renew] = true
    session['who'] = query['who']
  when '/logout'
    session.destroy
  end
  [200, { 'Content-Type' => 'application/json' }, [JSON.generate(session: session.to_hash)]]
end

app = Rack::Builder.new do
  use Rack::Session::Redis, redis_server: "unix://#{ARGV[0]}?namespace=rack:session", expire_after: 500
  run shop
end

Rack::Handler::FastCGI.run(app.to_app)
