using System.Net;

namespace Intercommunalite.Cli;

/// <summary>Ends the command with exit code 1. The message is all that the user gets: what is wrong, where, and what to do.</summary>
internal sealed class Failure(string message, Exception? cause = null) : Exception(message, cause)
{
    /// <summary>How a server said no, if one did.</summary>
    public HttpStatusCode? Status { get; init; }
}
