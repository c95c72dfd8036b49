using System.CommandLine;

namespace StableDiffusion.Ilgpu.Benchmarks;

/// <summary>Options that several commands have.</summary>
internal static class SharedOptions
{
    public static Argument<string> Model() => new("name")
    {
        Description = "Synthetic model",
        DefaultValueFactory = _ => "sd15",
    };

    public static Option<int> Size() => new("--size")
    {
        Description = "Width and height of the picture in pixels",
        DefaultValueFactory = _ => 512,
    };

    public static Option<int> Pictures() => new("--batch")
    {
        Description = "Pictures drawn at a time; the UNet's batch is twice as many",
        DefaultValueFactory = _ => 1,
    };

    public static Option<string> Device() => new("--device")
    {
        Description = "Where to run, as sdilgpu names it",
        DefaultValueFactory = _ => "cpu",
    };

    public static Option<bool> Offload() => new("--offload")
    {
        Description = "Measure the memory with the models taking turns on the device; changes nothing but that",
    };

    public static Option<int> Runs()
    {
        var option = new Option<int>("--runs") { Description = "Runs that the median is taken of", DefaultValueFactory = _ => 3 };
        option.Validators.Add(result =>
        {
            if (result.Tokens.Count > 0 && int.TryParse(result.Tokens[0].Value, out var runs) && runs < 1)
            {
                result.AddError($"--runs {runs} cannot be used; valid: 1 or more");
            }
        });
        return option;
    }

    /// <summary>Tells somebody who watches what takes so long.</summary>
    public static void Progress(string text) => Console.Error.WriteLine($"… {text}");

    /// <summary>Writes a file, where one was asked for.</summary>
    public static void Save(string? path, string text)
    {
        if (path is null)
        {
            return;
        }

        try
        {
            File.WriteAllText(path, text);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StableDiffusionException($"{path}: cannot be written: {e.Message}", e);
        }
    }
}
