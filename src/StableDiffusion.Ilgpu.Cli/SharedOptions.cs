using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Numerics;

namespace StableDiffusion.Ilgpu.Cli;

/// <summary>Options that several commands have, and how values are read.</summary>
internal static class SharedOptions
{
    public const string VerboseName = "--verbose";

    public const string ModelsOwn = "the model's own";

    public static Option<string?> Model() => new("--model", "-m")
    {
        Description = "Folder in diffusers' layout, single file, a name that 'sdilgpu pull' fetched (sd15, hf:owner/repo), "
            + "or synthetic:sd15 for full-size weights without meaning [default: the bundled model]",
        HelpName = "path",
    };

    public static Option<string?> Cache() => new("--cache")
    {
        Description = "Folder of pulled models and compiled kernels [default: sdilgpu in XDG_CACHE_HOME or ~/.cache]",
        HelpName = "folder",
    };

    public static Option<string> Device() => new("--device")
    {
        Description = "Where to run: auto (a CUDA device, or else an OpenCL GPU, or else the processor), cpu, cuda:0, opencl:0, … "
            + "or a name that 'sdilgpu devices' lists",
        HelpName = "device",
        DefaultValueFactory = _ => "auto",
    };

    public static Option<bool> Offload() => new("--offload", "--offload-to-cpu", "--medvram")
    {
        Description = "For devices with little memory: text encoder, UNet and autoencoder take turns in it. The same pictures; each turn takes "
            + "as long as reading that part from its file",
    };

    public static Option<bool> Verbose(string description = "Print the trace of an unexpected error") =>
        new(VerboseName, "-v") { Description = description };

    public static Option<int?> Width(string fallback = ModelsOwn) =>
        Number<int>("--width", $"Width in pixels, a multiple of 8 [default: {fallback}]", "-W");

    public static Option<int?> Height(string fallback = ModelsOwn) =>
        Number<int>("--height", $"Height in pixels, a multiple of 8 [default: {fallback}]", "-H");

    /// <summary>Whether a command line names an option, and does not leave it to its default.</summary>
    public static bool IsGiven(this ParseResult parsed, Option option) => parsed.CommandResult.IsGiven(option);

    private static bool IsGiven(this CommandResult command, Option option) => command.GetResult(option) is { Implicit: false };

    /// <summary>Refuses options that are given without any of those which they have an effect on.</summary>
    public static void RequireFor(this Command command, Option[] dependents, params Option[] needed) => command.Validators.Add(result =>
    {
        if (!needed.Any(result.IsGiven) && dependents.FirstOrDefault(result.IsGiven) is { } without)
        {
            result.AddError($"Option '{without.Name}' has no effect without '{needed[0].Name}'");
        }
    });

    /// <summary>A number in the invariant form; without a default, null where it is not given.</summary>
    public static Option<T?> Number<T>(string name, string description, params string[] aliases) where T : struct, INumber<T> =>
        new(name, aliases)
        {
            Description = description,
            HelpName = "number",
            CustomParser = result =>
            {
                var text = result.Tokens[0].Value;
                if (T.TryParse(text, StyleOf<T>(), CultureInfo.InvariantCulture, out var value))
                {
                    return value;
                }

                result.AddError($"{name} '{text}' is not {(StyleOf<T>() == NumberStyles.Float ? "a number" : "a whole number in range")}");
                return null;
            },
        };

    /// <summary>A text that <paramref name="find"/> understands; its error becomes the parser's.</summary>
    public static Option<string> Choice(string name, string description, string fallback, Func<string, object> find)
    {
        var option = new Option<string>(name) { Description = description, HelpName = "name", DefaultValueFactory = _ => fallback };
        option.Validators.Add(result =>
        {
            try
            {
                find(result.GetValueOrDefault<string>());
            }
            catch (StableDiffusionException e)
            {
                result.AddError(e.Message);
            }
        });
        return option;
    }

    /// <summary>The same without a default.</summary>
    public static Option<string?> OptionalChoice(string name, string description, Func<string, object> find)
    {
        var option = new Option<string?>(name) { Description = description, HelpName = "name" };
        option.Validators.Add(result =>
        {
            try
            {
                find(result.Tokens.Count > 0 ? result.Tokens[0].Value : "");
            }
            catch (StableDiffusionException e)
            {
                result.AddError(e.Message);
            }
        });
        return option;
    }

    // A comma for thousands would turn 7,5 into 75.
    private static NumberStyles StyleOf<T>() => typeof(T) == typeof(double) ? NumberStyles.Float : NumberStyles.Integer;
}
