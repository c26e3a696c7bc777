// Beside what protoc makes of the feed's messages, for .NET alone.
namespace Intercommunalite.Contracts.Feed.V1;

/// <content>Where a message stands.</content>
public sealed partial class SubscribeResponse
{
    /// <summary>
    /// Where to go on once this message is dealt with, whichever it is. To be kept after the event's effects, or in one transaction with
    /// them; empty before anything was looked at.
    /// </summary>
    public string Cursor => MessageCase switch
    {
        MessageOneofCase.Event => Event.Cursor,
        MessageOneofCase.Checkpoint => Checkpoint.Cursor,
        MessageOneofCase.CaughtUp => CaughtUp.Cursor,
        MessageOneofCase.FellBehind => FellBehind.Cursor,
        MessageOneofCase.Heartbeat => Heartbeat.Cursor,
        _ => "",
    };
}
