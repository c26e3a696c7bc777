using System.Security.Claims;
using System.Threading.Channels;
using Grpc.Core;
using Intercommunalite.Contracts.Feed.V1;
using Intercommunalite.Hub.Feeds;
using Intercommunalite.Hub.Territory;
using Intercommunalite.Hub.Tests.Agreements;
using Intercommunalite.ServiceDefaults.Access;
using Intercommunalite.Testing;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Npgsql;

namespace Intercommunalite.Hub.Tests.Feeds;

/// <summary>
/// A stream of a node's feed without a network that would hold messages by itself: each is given out only when the one before was let go.
/// </summary>
internal sealed class HeldStream : IAsyncDisposable
{
    private readonly Channel<(SubscribeResponse Message, TaskCompletionSource LetGo)> _given = Channel.CreateUnbounded<(SubscribeResponse, TaskCompletionSource)>();
    private readonly CancellationTokenSource _end = new();
    private readonly Task _stream;
    private TaskCompletionSource? _held;

    public HeldStream(AccessServer node, string client, FeedOptions? options = null, Filter? filter = null, string role = Roles.Partner)
    {
        options ??= new FeedOptions();
        var pages = ActivatorUtilities.CreateInstance<FeedPages>(node.Services, options, new Tail(node.Services.GetRequiredService<NpgsqlDataSource>(), options));
        var feed = new FeedService(ActivatorUtilities.CreateInstance<FeedStreams>(node.Services, options, pages), node.Services.GetRequiredService<TerritoryClock>());
        _stream = feed.Subscribe(new SubscribeRequest { Filter = filter }, new Writer(_given.Writer), new Call(client, role, _end.Token));
        _ = _stream.ContinueWith(ended => _given.Writer.TryComplete(ended.Exception?.InnerException), TaskScheduler.Default);
    }

    /// <summary>Lets the last message go, and waits for the next one.</summary>
    public async Task<SubscribeResponse> NextAsync()
    {
        _held?.SetResult();
        (var message, _held) = await _given.Reader.ReadAsync().AsTask().WaitAsync(Eventually.DefaultTimeout);
        return message;
    }

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        _held?.TrySetResult();
        await _stream.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _end.Dispose();
    }

    private sealed class Writer(ChannelWriter<(SubscribeResponse Message, TaskCompletionSource LetGo)> given) : IServerStreamWriter<SubscribeResponse>
    {
        public WriteOptions? WriteOptions { get; set; }

        public Task WriteAsync(SubscribeResponse message) => WriteAsync(message, CancellationToken.None);

        public async Task WriteAsync(SubscribeResponse message, CancellationToken cancellationToken)
        {
            var letGo = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            await given.WriteAsync((message, letGo), cancellationToken);
            await letGo.Task.WaitAsync(cancellationToken);
        }
    }

    /// <summary>A call of a partner, as the framework would make it.</summary>
    internal sealed class Call : ServerCallContext
    {
        private readonly CancellationToken _cancellation;
        private readonly Dictionary<object, object> _state;

        public Call(string client, string role, CancellationToken cancellation)
        {
            _cancellation = cancellation;
            var claims = new[] { new Claim("sub", client), new Claim("exp", "99999999999"), new Claim(Caller.RolesClaim, role) };
            // Where the framework looks for it.
            _state = new() { ["__HttpContext"] = new DefaultHttpContext { User = new(new ClaimsIdentity(claims, "test")) } };
        }

        protected override string MethodCore => "";

        protected override string HostCore => "";

        protected override string PeerCore => "";

        protected override DateTime DeadlineCore => DateTime.MaxValue;

        protected override Metadata RequestHeadersCore => [];

        protected override CancellationToken CancellationTokenCore => _cancellation;

        protected override Metadata ResponseTrailersCore => [];

        protected override Status StatusCore { get; set; }

        protected override WriteOptions? WriteOptionsCore { get; set; }

        protected override AuthContext AuthContextCore => new(null, []);

        protected override IDictionary<object, object> UserStateCore => _state;

        protected override ContextPropagationToken CreatePropagationTokenCore(ContextPropagationOptions? options) => throw new NotSupportedException();

        protected override Task WriteResponseHeadersAsyncCore(Metadata responseHeaders) => Task.CompletedTask;
    }
}
