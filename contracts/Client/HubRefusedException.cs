using Grpc.Core;

namespace Intercommunalite.Contracts.Client;

/// <summary>
/// The hub, or the issuer of tokens, says no, and would again: somebody has to do something first. The message says what is wrong, where,
/// and what to do; it holds no personal data.
/// </summary>
public sealed class HubRefusedException : Exception
{
    internal HubRefusedException(string message, Exception? cause = null)
        : base(message, cause)
    {
        Status = (cause as RpcException)?.StatusCode ?? StatusCode.Unauthenticated;
        Reason = (cause as RpcException)?.Trailers.GetValue("reason");
    }

    /// <summary>How the hub said no; <see cref="StatusCode.Unauthenticated"/> when no token could be had.</summary>
    public StatusCode Status { get; }

    /// <summary>
    /// Why, for programs, as <c>feed.proto</c> lists it: <c>cursor-malformed</c>, <c>cursor-of-another-store</c>, <c>cursor-too-old</c>,
    /// <c>cursor-of-another-history</c>, <c>unknown-type</c>; null where nothing stands there.
    /// </summary>
    public string? Reason { get; }
}
