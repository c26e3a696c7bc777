using Intercommunalite.Connector.Formats;
using Intercommunalite.Connector.Forwarding;
using Intercommunalite.Connector.Intake;
using Intercommunalite.Connector.Journal;
using Intercommunalite.ServiceDefaults;

var builder = WebApplication.CreateBuilder(args);
builder.AddServiceDefaults("connector");
builder.Services.AddSingleton(TimeProvider.System);
builder.Services.AddOpenApi();
builder.AddIntake();
builder.AddFormats();
builder.AddJournal();
builder.AddForwarding();

var app = builder.Build();
app.UseServiceDefaults();
app.UseRateLimiter();
app.MapOpenApi();
app.MapIntake();
app.MapFormats();
app.Run();
