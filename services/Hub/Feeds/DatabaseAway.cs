using Grpc.Core;
using Grpc.Core.Interceptors;
using Npgsql;

namespace Intercommunalite.Hub.Feeds;

/// <summary>A call that fails because the database does not answer can be tried again: the caller is told so, as the contract says.</summary>
internal sealed class DatabaseAway : Interceptor
{
    /// <inheritdoc/>
    public override async Task<TResponse> UnaryServerHandler<TRequest, TResponse>(TRequest request, ServerCallContext context, UnaryServerMethod<TRequest, TResponse> continuation)
    {
        try
        {
            return await continuation(request, context);
        }
        catch (Exception e) when (IsAway(e))
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
        catch (Exception e) when (IsAway(e))
        {
            throw Away(e);
        }
    }

    // With its cause, for the log of the server; the caller gets the text alone.
    private static RpcException Away(Exception cause) => new(new Status(StatusCode.Unavailable, "The hub's database does not answer now. Try again.", cause));

    // An error that the database answers with is no outage, unless it says that it is one.
    private static bool IsAway(Exception e) => e is NpgsqlException and (not PostgresException or { IsTransient: true }) or TimeoutException;
}
