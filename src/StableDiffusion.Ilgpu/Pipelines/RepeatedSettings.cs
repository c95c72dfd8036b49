using System.Globalization;
using System.Numerics;
using System.Text.RegularExpressions;
using StableDiffusion.Ilgpu.Imaging;
using StableDiffusion.Ilgpu.Sampling;
using StableDiffusion.Ilgpu.Weights;

namespace StableDiffusion.Ilgpu;

/// <summary>
/// A picture's settings in the terms of a request. Each is read when it is asked for, so that one that is not asked for may be unknown;
/// one that the picture does not tell is null.
/// </summary>
/// <param name="source">What messages call the picture.</param>
/// <param name="settings">As its file has them.</param>
internal sealed partial class RepeatedSettings(string source, PictureSettings settings)
{
    /// <summary>Keys that tell about a picture and do not change it, or that are compared with the model.</summary>
    private static readonly string[] Informative = ["Model", "Model hash", SettingsText.VaeHashKey, "Version", "User", CppSettings.JsonKey, CppSettings.GuidanceKey];

    private static readonly string[] Repeated =
        ["Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "RNG", "Eta", "Eta DDIM", "Clip skip", "Emphasis", "Tiling"];

    private static readonly string[] TaesdKeys = [SettingsText.DecoderKey, SettingsText.EncoderKey];

    private static readonly string[] HiresKeys = ["Hires upscale", "Hires steps", "Hires upscaler"];

    /// <summary>Longer than any sampler's name with its schedule's.</summary>
    private const int LongestName = 100;

    /// <summary>Of a latent's in 1.x and 2.x: sides are multiples of them.</summary>
    private const int Pixels = 8;

    private const string DenoisingKey = "Denoising strength", BlurKey = "Mask blur", ModeKey = "Mask mode", ResizeKey = "Resize mode",
        LatentKey = "Latent";

    /// <summary>The web UI's name for the schedule that its sampler has where none is chosen.</summary>
    private const string Automatic = "Automatic";

    private readonly CppSettings? cpp = CppSettings.Of(settings);

    public static RepeatedSettings Read(string path) => new(path, PictureSettings.Read(path));

    public string Prompt => WithPlainEmbeddings(settings.Prompt);

    public string NegativePrompt => WithPlainEmbeddings(settings.NegativePrompt);

    public int? Steps => Number<int>("Steps");

    public double? GuidanceScale => Number<double>("CFG scale");

    /// <summary>ComfyUI's seeds have 64 bits without a sign, of which PyTorch's generator on the CPU takes the low 32: those of one that no seed here can be.</summary>
    public long? Seed => settings["Seed"] is { } text && TryNumber(text, out ulong seed) && seed > long.MaxValue && NoiseGenerator == Ilgpu.NoiseGenerator.Cpu
        ? (uint)seed : Number<long>("Seed");

    public int? Width => Size?.Width;

    public int? Height => Size?.Height;

    /// <exception cref="StableDiffusionException">There is no such sampler here; the message lists those that there are.</exception>
    public Sampler? Sampler => settings["Sampler"] is not { } name ? null : KnownSampler ?? throw Unknown("sampler", name, Samplers.All.Select(s => s.Name));

    /// <summary>
    /// The schedule in the terms of a sampler. What other tools call uniform or discrete, and take where nothing is chosen, does not depend on
    /// the model's configuration; their DDIM, PLMS and UniPC have timesteps of their own whatever is chosen.
    /// </summary>
    /// <param name="sampler">The sampler that will run; null for one that is not known.</param>
    /// <exception cref="StableDiffusionException">There is no such schedule here; the message lists those that there are.</exception>
    public Scheduler? ScheduleFor(Sampler? sampler)
    {
        if (settings.Source == PictureSettings.WebUi && (sampler == Samplers.Ddim || sampler == Samplers.Pndm || sampler == Samplers.UniPc))
        {
            return Ilgpu.Scheduler.Discrete;
        }

        var stated = StatedSchedule;
        if (sampler is null || settings["Sampler"] is null || settings.Source == PictureSettings.Own || settings["Backend"] is "Diffusers"
            || stated is not (null or Ilgpu.Scheduler.Discrete or Ilgpu.Scheduler.Normal))
        {
            return stated;
        }

        return sampler.NormalScheduler;
    }

    private Scheduler? StatedSchedule => settings["Schedule type"] switch
    {
        null when cpp is not null => cpp.Schedule is not { } name ? null
            : KnownSampler is { } sampler && cpp.HasOwnSchedule(sampler) ? Ilgpu.Scheduler.Discrete
            : FindSchedule(name) ?? throw Unknown("schedule", name, SchedulerNames.Choices),
        null => settings["Sampler"] is { } sampler && FindSampler(sampler) is null && SplitSchedule(sampler) is { } split ? split.Schedule : null,
        var name when Same(name, Automatic) => AutomaticOf(KnownSampler),
        var name => FindSchedule(name) ?? throw Unknown("schedule", name, SchedulerNames.Choices),
    };

    /// <summary>Null stands for noise of a GPU, which tools do not write down.</summary>
    public NoiseGenerator? NoiseGenerator => settings["RNG"] switch
    {
        null => null,
        var name when Same(name, "cpu") => Ilgpu.NoiseGenerator.Cpu,
        var name when Same(name, "cuda") || Same(name, "gpu") || Same(name, "nv") => Ilgpu.NoiseGenerator.Cuda,
        var name => throw Unknown("rng", name, Enum.GetNames<NoiseGenerator>().Select(n => n.ToLowerInvariant())),
    };

    /// <summary>The share of fresh noise of the picture's own sampler; null where that has none to choose.</summary>
    public double? Eta => Sampler is not { DefaultEta: not null } sampler ? null
        : cpp is null ? Number<double>(sampler.EtaKey) : NumberOf<double>(CppSettings.EtaKey, cpp.Eta(sampler));

    public int? ClipSkip => Number<int>("Clip skip");

    public PromptWeighting? PromptWeighting => settings["Emphasis"] switch
    {
        null => null,
        var name when Same(name, "Original") => Ilgpu.PromptWeighting.A1111,
        var name => Enum.GetValues<PromptWeighting>().Cast<PromptWeighting?>()
            .FirstOrDefault(w => Same(name, PromptConditioning.NameOf(w!.Value) ?? ""))
            ?? throw Unknown("emphasis", name, ["Original", .. Enum.GetValues<PromptWeighting>().Select(PromptConditioning.NameOf).OfType<string>()]),
    };

    public bool IsCircular => settings["Tiling"] is { } tiling && Same(tiling, "True");

    /// <summary>A second pass; null where there was none, or one that enlarges in a way that is not known here.</summary>
    public HiresOptions? Hires
    {
        get
        {
            var (nameKey, scaleKey) = cpp is null ? ("Hires upscaler", "Hires upscale") : ("Hires upscale", CppSettings.HiresScaleKey);
            var upscalers = Enum.GetValues<HiresUpscaler>().Cast<HiresUpscaler?>();
            var upscaler = settings[nameKey] is { } name ? upscalers.FirstOrDefault(u => Same(name, HiresPass.NameOf(u!.Value))) : null;
            return upscaler is null || cpp is { HasHiresSize: true } || Number<double>(scaleKey) is not { } scale ? null : new HiresOptions
            {
                Scale = ScaleHere(scale),
                Upscaler = upscaler.Value,

                // 0 is "as the first pass" in other tools.
                Steps = Number<int>("Hires steps") is > 0 and var steps ? steps : null,
                DenoisingStrength = Number<double>(HiresDenoisingKey) ?? new HiresOptions().DenoisingStrength,
            };
        }
    }

    /// <summary>
    /// How much of a picture was drawn anew; null where it was begun with noise, whose second pass' strength has the same name.
    /// </summary>
    public double? Strength => cpp is not null ? cpp.Strength : Hires is null || HiresDenoisingKey != DenoisingKey ? Number<double>(DenoisingKey) : null;

    /// <summary>Pixels that the mask was blurred by.</summary>
    public int? MaskBlur => Number<int>(BlurKey);

    /// <summary>Whether the mask's black parts were painted; null where nothing tells.</summary>
    public bool? InvertMask => settings[ModeKey] is { } mode ? Same(mode, PictureSettingsText.InvertedMask) : null;

    /// <summary>How the picture was made to fit; null where nothing tells, or in a way that is not known here.</summary>
    public ResizeMode? ResizeMode => settings[ResizeKey] is { } mode ? PictureSettingsText.FindResizeMode(mode) : null;

    /// <summary>Whether the mean of the encoder's distribution was begun with; null where nothing tells.</summary>
    public bool? MeanLatent => settings[LatentKey] is { } latent ? Same(latent, PictureSettingsText.MeanLatent) : null;

    /// <summary>Keys of the picture that a request has nothing for.</summary>
    /// <param name="hasPicture">The request begins with a picture.</param>
    /// <param name="hasMask">It has a mask.</param>
    /// <param name="additions">What the model was loaded with.</param>
    public IEnumerable<string> NotRepeated(bool hasPicture, bool hasMask, ModelAdditions additions) => settings.Settings.Select(s => s.Key).Except(
        [
            .. Informative, .. Repeated, .. Hires is null ? [] : HiresKeys.Append(HiresDenoisingKey).Concat(cpp is null ? [] : CppSettings.HiresKeys),
            .. hasPicture && cpp is null && Strength is not null ? [DenoisingKey] : Array.Empty<string>(),
            .. hasPicture && ResizeMode is not null ? [ResizeKey] : Array.Empty<string>(), .. hasPicture ? [LatentKey] : Array.Empty<string>(),
            .. hasMask ? [BlurKey, ModeKey] : Array.Empty<string>(),
            .. HasAll(SettingsText.LoraKey, additions.Loras) ? [SettingsText.LoraKey] : Array.Empty<string>(),
            .. HasAll(SettingsText.EmbeddingKey, additions.Embeddings) ? [SettingsText.EmbeddingKey] : Array.Empty<string>(),
            .. HasVae(additions.Vae) ? [SettingsText.VaeKey] : Array.Empty<string>(),
            .. additions.HasTaesd ? TaesdKeys : [],
        ],
        StringComparer.OrdinalIgnoreCase);

    /// <summary>Prompts that name LoRAs bring them along; others, and textual inversions, have to be given.</summary>
    private bool HasAll(string key, IEnumerable<string> names) => settings[key] is not { } hashes
        || !hashes.Split(", ").Select(h => h.Split(": ")[0]).Except(names.Select(SettingsText.ListedName), StringComparer.OrdinalIgnoreCase).Any();

    /// <summary>Whether the picture's autoencoder is there, by its hash or, where it has none, by its name.</summary>
    private bool HasVae(NamedFile? vae) => vae is not null
        && (settings[SettingsText.VaeHashKey] is { Length: FileHash.ModelDigits } hash ? Same(hash, vae.ShortHash.Value) : Same(settings[SettingsText.VaeKey] ?? "", vae.Name));

    /// <summary>Where the second pass' strength stands.</summary>
    private string HiresDenoisingKey => settings[HiresPass.DenoisingKey] is null ? DenoisingKey : HiresPass.DenoisingKey;

    /// <summary>A line about a model other than the picture's; null where it is the same, or nothing tells.</summary>
    public string? CompareModel(string name, string? hash)
    {
        var (theirName, theirHash) = (settings["Model"], settings["Model hash"]);
        var isOther = theirHash is not null && theirHash.Length == hash?.Length ? !Same(theirHash, hash)
            : theirName is not null && !Same(theirName, name);
        string Title(string? n, string? h) => h is null ? $"'{n}'" : $"'{n}' ({h})";
        return isOther ? $"{source} was made with the model {Title(theirName, theirHash)}; this is {Title(name, hash)}" : null;
    }

    /// <summary>
    /// The factor that gives the size of a second pass that the picture's tool made by its own: the web UI rounds sides down to multiples of 8 pixels,
    /// stable-diffusion.cpp up (<see cref="CppSettings.Enlarge"/>). Where no factor gives both sides, the tool's own.
    /// </summary>
    private double ScaleHere(double scale)
    {
        if (settings.Source == PictureSettings.Own || Size is not { Width: >= Pixels, Height: >= Pixels } size)
        {
            return scale;
        }

        // Sides of latents are rounded to the nearest here.
        var sides = new[] { size.Width, size.Height };
        var (low, high) = (sides.Max(s => (Theirs(s) - 0.5) / (s / Pixels)), sides.Min(s => (Theirs(s) + 0.5) / (s / Pixels)));
        return low >= high || (low < scale && scale < high) ? scale : (low + high) / 2;

        double Theirs(int side) =>
            cpp is null ? Math.Floor(Math.Floor(side * scale) / Pixels) : CppSettings.Enlarge(side, scale) / Pixels;
    }

    private (int Width, int Height)? Size
    {
        get
        {
            var parts = settings["Size"]?.Split('x', 'X');
            return parts is null ? null
                : parts.Length == 2 && TryNumber(parts[0], out int width) && TryNumber(parts[1], out int height) ? (width, height)
                : throw new StableDiffusionException($"{source}: Size '{settings["Size"]}' is not two whole numbers");
        }
    }

    private T? Number<T>(string key) where T : struct, INumber<T> => NumberOf<T>(key, settings[key]);

    private T? NumberOf<T>(string key, string? text) where T : struct, INumber<T> =>
        text is null ? null
        : TryNumber(text, out T value) ? value
        : throw new StableDiffusionException($"{source}: {key} '{text}' is not a "
            + (typeof(T) == typeof(double) ? "number" : "whole number in range"));

    private static bool TryNumber<T>(string text, out T value) where T : struct, INumber<T> =>
        T.TryParse(text, typeof(T) == typeof(double) ? NumberStyles.Float : NumberStyles.Integer, CultureInfo.InvariantCulture, out value);

    private static bool Same(string a, string b) => string.Equals(a, b, StringComparison.OrdinalIgnoreCase);

    /// <summary>Null where nothing tells, and for one that there is not here.</summary>
    private Sampler? KnownSampler => settings["Sampler"] is not { } name ? null
        : FindSampler(name) ?? FindSampler(cpp?.Sampler ?? SplitSchedule(name)?.Sampler ?? "");

    /// <summary>ComfyUI's forms that end with _gpu differ in where their noise is drawn.</summary>
    private static Sampler? FindSampler(string name) =>
        Samplers.All.FirstOrDefault(s => s.Aliases.Append(s.Name).Append(s.DisplayName).Any(n => Bare(name) == Bare(n) || Bare(name) == $"{Bare(n)}gpu"));

    private static Scheduler? FindSchedule(string name) =>
        SchedulerNames.All.Cast<Scheduler?>().FirstOrDefault(s => SchedulerNames.NamesOf(s!.Value).Any(n => Bare(n) == Bare(name)));

    /// <summary>By the table of the web UI's samplers (its version 1.9).</summary>
    private static Scheduler AutomaticOf(Sampler? sampler) =>
        sampler == Samplers.DpmPlusPlus2M || sampler == Samplers.DpmPlusPlusSde || sampler == Samplers.DpmPlusPlus2SAncestral
        || sampler == Samplers.Dpm2 || sampler == Samplers.Dpm2Ancestral ? Ilgpu.Scheduler.Karras
        : sampler == Samplers.DpmPlusPlus2MSde ? Ilgpu.Scheduler.Exponential
        : Ilgpu.Scheduler.Discrete;

    /// <summary>"DPM++ 2M Karras", as the web UI once wrote, and "dpm++2m karras", as stable-diffusion.cpp does.</summary>
    private static (string Sampler, Scheduler Schedule)? SplitSchedule(string name)
    {
        for (var space = name.Length <= LongestName ? name.IndexOf(' ', StringComparison.Ordinal) : -1; space > 0; space = name.IndexOf(' ', space + 1))
        {
            if (FindSampler(name[..space]) is not null && FindSchedule(name[(space + 1)..]) is { } schedule)
            {
                return (name[..space], schedule);
            }
        }

        return null;
    }

    /// <summary>ComfyUI's prompts say <c>embedding:FOLDER/NAME.pt</c> where others, and this tool, say <c>NAME</c>.</summary>
    private string WithPlainEmbeddings(string prompt) => settings.Source == ComfyUiGraph.Name ? ComfyEmbedding().Replace(prompt, "${name}") : prompt;

    [GeneratedRegex(@"\bembedding:([^\s,:()]*[/\\])?(?<name>[^\s,:()/\\]+?)(\.(safetensors|pt|bin))?(?=[\s,:()]|$)", RegexOptions.ExplicitCapture)]
    private static partial Regex ComfyEmbedding();

    /// <summary>Letters and digits only, with ComfyUI's "pp" for "++".</summary>
    private static string Bare(string name) =>
        string.Concat(name.ToLowerInvariant().Replace("++", "pp", StringComparison.Ordinal).Where(char.IsLetterOrDigit));

    private StableDiffusionException Unknown(string kind, string name, IEnumerable<string> valid) =>
        new($"{source}: unknown {kind} \"{name}\": choose one of {string.Join(", ", valid)}");
}
