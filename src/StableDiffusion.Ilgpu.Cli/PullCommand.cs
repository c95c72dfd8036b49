using System.CommandLine;
using StableDiffusion.Ilgpu.Cli.Downloads;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary><c>sdilgpu pull</c>: fetches a model into the cache.</summary>
internal static class PullCommand
{
    public static Command Create(CommandContext context)
    {
        var name = new Argument<string>("name")
        {
            Description = "Model to fetch: a short name, or hf:OWNER/REPOSITORY[@REVISION][:FILE] (HF_ENDPOINT names another hub)",
        };
        var variant = new Option<string?>("--variant")
        {
            Description = "Variant of the weights, as fp16 for files named *.fp16.safetensors [default: the plain ones]",
            HelpName = "name",
        };
        var cache = SharedOptions.Cache();
        var command = new Command(
            "pull", $"Fetch a model into the cache: {ShortNames()}, or a repository of a Hugging Face hub.")
        {
            name, variant, cache, SharedOptions.Verbose(),
        };
        command.SetAction(parsed =>
        {
            var named = parsed.GetValue(name)!;
            var wanted = parsed.GetValue(variant);
            if (wanted is not null && (wanted.Length == 0 || !wanted.All(c => char.IsAsciiLetterOrDigit(c) || c == '_')))
            {
                throw new StableDiffusionException($"variant '{wanted}' is not a name of letters and digits, as fp16");
            }

            Pull(context, named, wanted, ModelCache.Open(parsed.GetValue(cache), context.Environment));
        });
        return command;
    }

    // The other commands, and hf:, work without a manifest.
    private static string ShortNames()
    {
        try
        {
            return ModelManifest.Default.Names;
        }
        catch (StableDiffusionException)
        {
            return "a short name";
        }
    }

    private static void Pull(CommandContext context, string name, string? variant, ModelCache cache)
    {
        Surroundings.Check(context);
        var byAddress = name.StartsWith(HubReference.Prefix, StringComparison.Ordinal);
        var model = byAddress ? null : ModelManifest.Default.Find(name);
        if (model is null && !byAddress)
        {
            throw new StableDiffusionException(
                $"unknown model '{name}': choose one of {ModelManifest.Default.Names}, or hf:OWNER/REPOSITORY[@REVISION][:FILE]");
        }

        var reference = model?.Reference ?? HubReference.Parse(name);
        var address = context.Environment("HF_ENDPOINT") is { Length: > 0 } given ? given : HubClient.DefaultEndpoint;
        using var hub = new HubClient(address, HubToken.Find(context.Environment), context.FirstRetryDelay);
        PullDisplay.Run(context, display =>
        {
            var pull = new ModelPull(hub, cache, reference, model, variant, display);
            var path = pull.RunAsync(context.Cancellation).GetAwaiter().GetResult();
            display.WriteLine($"{name} is in {path}");
        });
    }
}
