using Grpc.Core;
using Grpc.Core.Interceptors;
using Intercommunalite.Hub.EventStore;

namespace Intercommunalite.Hub.Feeds;

/// <summary>A call that fails because the database does not answer can be tried again: the caller is told so, as the contract says.</summary>
internal sealed class DatabaseAwayInterceptor : Interceptor
{
    /// <inheritdoc/>
    public override async Task<TResponse> UnaryServerHandler<TRequest, TResponse>(TRequest request, ServerCallContext context, UnaryServerMethod<TRequest, TResponse> continuation)
    {
        try
        {
            return await continuation(request, context);
        }
        catch (Exception e) when (DatabaseAway.Is(e))
        {
            throw Away(e);
        }
    }

    /// <inheritdoc/>
    public override async Task ServerStreamingServerHandler<TRequest, TResponse>(
        TRequest request, IServerStreamWriter<TResponse> responseStream, ServerCallContext context, ServerStreamingServerMethod<TRequest, TResponse> continuation)
    {
        try
        {
            await continuation(request, responseStream, context);
        }
        catch (Exception e) when (DatabaseAway.Is(e))
        {
            throw Away(e);
        }
    }

    // With its cause, for the log of the server; the caller gets the text alone.
    private static RpcException Away(Exception cause) => new(new Status(StatusCode.Unavailable, "The hub's database does not answer now. Try again.", cause));
}
